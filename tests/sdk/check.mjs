// Real SDK clients through the sidecar: what they receive must be what the service sent.
//
//     check.mjs BASE_URL FIXTURES_DIR SHARED_SECRET [VECTOR]
//
// Does what check.py does, and prints the same lines: every call has a caller of its own, and one JSON
// line for the Rust test, which holds it against the usage events. Exits 1, after a stack, if a client
// received anything else than the fixture says.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import OpenAI, { AzureOpenAI } from "openai";

const [BASE_URL, FIXTURES_DIR, SHARED_SECRET, VECTOR] = process.argv.slice(2);
const FIXTURES = readdirSync(FIXTURES_DIR).filter((name) => name.endsWith(".json")).sort()
  .map((name) => JSON.parse(readFileSync(join(FIXTURES_DIR, name), "utf8")));
const PARALLEL = 50;
// A retry would be a second call with an event of its own.
const COMMON = { apiKey: "a-key-of-the-test", maxRetries: 0, timeout: 60_000 };

let calls = 0;
const nextCaller = () => `sdk-${String(++calls).padStart(3, "0")}`;

const azure = () => new AzureOpenAI({ endpoint: BASE_URL, apiVersion: "2024-10-21", ...COMMON });
const plain = () => new OpenAI({ baseURL: `${BASE_URL}/openai/v1`, ...COMMON });

const identity = (caller) => ({ "x-apim-subscription-id": caller, "x-tokenweir-auth": SHARED_SECRET });

function create(client, fixture, caller, stream, includeUsage, signal) {
  const body = { ...fixture.request, model: fixture.deployment };
  if (stream) body.stream = true;
  if (includeUsage) body.stream_options = { include_usage: true };
  return client.chat.completions.create(body, { headers: identity(caller), signal });
}

const emptyChoice = () => ({ content: "", refusal: "", calls: [], finish: null });

/** A stream's deltas, joined as an application would. */
class Joined {
  usage = null;

  constructor(fixture) {
    this.choices = fixture.choices?.map(emptyChoice) ?? [];
  }

  add(chunk) {
    this.usage = chunk.usage ?? this.usage;
    for (const part of chunk.choices) {
      const choice = this.choices[part.index];
      choice.finish = part.finish_reason ?? choice.finish;
      if (!part.delta) continue; // an event of the asynchronous content filter
      choice.content += part.delta.content ?? "";
      choice.refusal += part.delta.refusal ?? "";
      for (const call of part.delta.tool_calls ?? []) {
        if (call.index === choice.calls.length) choice.calls.push([call.id, call.function.name, ""]);
        choice.calls[call.index][2] += call.function.arguments ?? "";
      }
    }
  }
}

function choiceOf({ message, finish_reason }) {
  const calls = (message.tool_calls ?? []).map((call) => [call.id, call.function.name, call.function.arguments]);
  return { content: message.content ?? "", refusal: message.refusal ?? "", calls, finish: finish_reason };
}

const whole = (completion) => ({ choices: completion.choices.map(choiceOf), usage: completion.usage });

/** The client has what the fixture says, and usage exactly if the service was to report it. */
function compare(fixture, joined, reports) {
  assert.deepEqual(joined.choices, fixture.choices.map(choiceOf), fixture.name);
  const keys = Object.keys(fixture.usage);
  const got = joined.usage && Object.fromEntries(keys.map((key) => [key, joined.usage[key]]));
  assert.deepEqual(got, reports ? fixture.usage : null, fixture.name);
}

const isCut = (fixture) => fixture.delivery?.cut_after !== undefined;

/** What an error that a client throws says of the call; throws it again if it says nothing. */
function endingOf(error, fixture) {
  if (error instanceof OpenAI.APIError && error.status !== undefined) {
    assert.equal(error.status, fixture.error?.status, error);
    return "status";
  }
  // fetch's own word for a body that breaks off.
  if (error instanceof TypeError && error.message === "terminated") return "broken";
  throw error;
}

function report(caller, client, fixture, stream, include_usage, ending) {
  console.log(JSON.stringify({ caller, client, fixture, stream, include_usage, ending }));
}

/** `leave`: a way of hanging up, after 20 chunks. */
async function call(name, client, fixture, stream, includeUsage = false, leave = null) {
  const caller = nextCaller();
  const outside = new AbortController();
  let ending = "complete";
  try {
    const answer = await create(client, fixture, caller, stream, includeUsage, outside.signal);
    if (stream) {
      const joined = new Joined(fixture);
      let chunks = 0;
      for await (const chunk of answer) {
        joined.add(chunk);
        if (leave && ++chunks === 20) {
          ending = "left";
          if (leave === "break") break;
          if (leave === "abort") answer.controller.abort();
          if (leave === "signal") outside.abort();
        }
      }
      if (ending === "complete" && !isCut(fixture)) compare(fixture, joined, includeUsage);
    } else {
      compare(fixture, whole(answer), true);
    }
  } catch (error) {
    ending = endingOf(error, fixture);
  }
  assert.equal(ending === "broken", stream && isCut(fixture), `${fixture.name}: ${ending}`);
  assert.equal(ending === "left", leave !== null, `${fixture.name}: ${ending}`);
  report(caller, name, fixture.name, stream, includeUsage, ending);
}

const CLIENTS = [["AzureOpenAI", azure()], ["OpenAI", plain()]];

async function main() {
  for (const [name, client] of CLIENTS) {
    for (const fixture of FIXTURES) {
      for (const [stream, includeUsage] of [[false, false], [true, false], [true, true]]) {
        await call(name, client, fixture, stream, includeUsage);
      }
    }
    const long = FIXTURES.find((fixture) => fixture.name === "boathouse-draft");
    for (const leave of ["break", "abort", "signal"]) await call(name, client, long, true, false, leave);
  }

  const answered = FIXTURES.filter((fixture) => fixture.choices && !isCut(fixture));
  const client = azure();
  await Promise.all(Array.from({ length: PARALLEL }, (_, number) =>
    call("many at once", client, answered[number % answered.length], true, number % 2 === 0)));
  await Promise.all(answered.map((fixture) => call("many at once", client, fixture, false)));
}

async function embeddings(vector) {
  for (const [name, client] of CLIENTS) {
    for (const options of [{}, { encoding_format: "float" }]) { // by default the SDK asks for base64, and decodes it
      const caller = nextCaller();
      const body = { input: "A weir.", model: "embed", ...options };
      const answer = await client.embeddings.create(body, { headers: identity(caller) });
      assert.deepEqual(answer.data[0].embedding, vector);
      report(caller, name, "embeddings", false, false, "complete");
    }
  }
}

await (VECTOR ? embeddings(JSON.parse(VECTOR)) : main());

// One session over a WebSocket by the real SDK: a response after the other, then it leaves.
//
//     sessions.mjs BASE_URL CALLER SECRET CLIENT SURFACE MODEL RESPONSES CA_FILE
//
// Does what sessions.py does, and prints the same; it speaks TLS only, whatever its base says.
import { readFileSync } from "node:fs";

import OpenAI, { AzureOpenAI } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const [BASE_URL, CALLER, SHARED_SECRET, CLIENT, , MODEL, RESPONSES, CA_FILE] = process.argv.slice(2);
const KEY = { apiKey: "a-key-of-the-test" };
const options = {
  ca: readFileSync(CA_FILE),
  headers: { "x-apim-subscription-id": CALLER, "x-tokenweir-auth": SHARED_SECRET },
};

function connect() {
  if (CLIENT === "azure") {
    const client = new AzureOpenAI({ endpoint: BASE_URL, apiVersion: "2025-04-01-preview", ...KEY });
    return OpenAIRealtimeWS.azure(client, { deploymentName: MODEL, options });
  }
  return new OpenAIRealtimeWS({ model: MODEL, options }, new OpenAI({ baseURL: `${BASE_URL}/openai/v1`, ...KEY }));
}

const connection = await connect();
const events = [];
let left = Number(RESPONSES);
connection.on("error", (error) => { throw error; });
connection.on("event", (event) => {
  events.push(event);
  if (event.type === "response.done" && --left === 0) return connection.close();
  if (["session.created", "response.done"].includes(event.type)) connection.send({ type: "response.create" });
});
connection.socket.on("close", () => console.log(JSON.stringify({ events, ending: left === 0 ? "left" : "broken" })));

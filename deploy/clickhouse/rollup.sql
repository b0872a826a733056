-- From events as JSON lines to quantities and money by UTC day, payer, deployment, model, tier and class, exactly:
-- for clickhouse-local and chDB; README.md says what differs in a server.
--
--   SET param_events = 'archive/*.jsonl.gz';
--   SET param_prices = 'prices-flat.csv';
--
-- It makes three tables in the database `tokenweir`: `usage` (each event that counts, once), `daily` (the sums) and
-- `left_out` (the lines that do not count, by reason).
CREATE DATABASE IF NOT EXISTS tokenweir ENGINE = Atomic;

-- Numbers are read as they are written: an integer would be null, or another one, for what is none, without a word.
CREATE OR REPLACE TABLE tokenweir.judged ENGINE = MergeTree ORDER BY tuple() AS
WITH '^[0-9]{1,14}$' AS digits,
  ['exact', 'lower_bound', 'estimated', 'unknown'] AS qualities,
  ['complete', 'client_disconnect', 'upstream_error', 'upstream_eof', 'timeout', 'shutdown', 'crashed', 'rejected', 'upstream_status'] AS outcomes
SELECT
  JSONExtract(line, 'Tuple(
    source Nullable(String), id Nullable(String), type Nullable(String), time Nullable(String),
    data Tuple(
      caller Tuple(id Nullable(String), department Nullable(String), cost_center Nullable(String)),
      target Tuple(provider Nullable(String), api Nullable(String), resource Nullable(String), region Nullable(String),
        deployment Nullable(String), deployment_served Nullable(String), model Nullable(String), model_requested Nullable(String),
        service_tier Nullable(String), speed Nullable(String), inference_geo Nullable(String)),
      request Tuple(size Nullable(String), quality Nullable(String)),
      tokens Tuple(input Nullable(String), output Nullable(String), input_cached Nullable(String), input_cached_audio Nullable(String),
        input_cached_image Nullable(String), input_cache_write Nullable(String), input_cache_write_long Nullable(String),
        input_audio Nullable(String), input_image Nullable(String), output_audio Nullable(String), output_image Nullable(String)),
      units Tuple(audio_ms Nullable(String), video_ms Nullable(String), images Nullable(String), characters Nullable(String),
        pages Nullable(String), search_units Nullable(String), web_searches Nullable(String), web_fetches Nullable(String)),
      tools Array(Tuple(tool Nullable(String), model Nullable(String), input Nullable(String), output Nullable(String),
        input_cached Nullable(String), input_image Nullable(String), output_image Nullable(String))),
      accounting Tuple(input_quality Nullable(String), output_quality Nullable(String), deferred Nullable(String),
        reported_output Nullable(String)),
      stream Tuple(outcome Nullable(String)), calls Nullable(String), ids Tuple(response_id Nullable(String))))') AS e,
  parseDateTime64BestEffortOrNull(e.time, 3, 'UTC') AS moment,
  multiIf(
    e.type = 'dev.tokenweir.control.v1', 'control event',
    ifNull(e.type NOT IN ('dev.tokenweir.usage.v1', 'dev.tokenweir.summary.v1'), true), 'no event of this schema',
    NOT ifNull(
      e.source IS NOT NULL AND e.id IS NOT NULL AND moment IS NOT NULL AND e.data.caller.id IS NOT NULL
      AND JSONType(line, 'data', 'target') = 'Object' AND JSONType(line, 'data', 'tokens') = 'Object'
      AND has(qualities, e.data.accounting.input_quality) AND has(qualities, e.data.accounting.output_quality)
      AND if(e.type = 'dev.tokenweir.summary.v1', match(e.data.calls, digits), has(outcomes, e.data.stream.outcome))
      AND arrayAll(n -> n IS NULL OR match(n, digits), arrayConcat(
        [e.data.tokens.1, e.data.tokens.2, e.data.tokens.3, e.data.tokens.4, e.data.tokens.5, e.data.tokens.6, e.data.tokens.7,
         e.data.tokens.8, e.data.tokens.9, e.data.tokens.10, e.data.tokens.11],
        [e.data.units.1, e.data.units.2, e.data.units.3, e.data.units.4, e.data.units.5, e.data.units.6, e.data.units.7, e.data.units.8],
        arrayFlatten(arrayMap(t -> [t.3, t.4, t.5, t.6, t.7], e.data.tools)))), false), 'event that is not whole',
    e.data.stream.outcome = 'rejected', 'call that was rejected', '') AS reason
FROM file({events:String}, LineAsString, 'line String')
WHERE trimBoth(line) != ''
SETTINGS max_threads = 2;

-- Each event once.
CREATE OR REPLACE TABLE tokenweir.once ENGINE = MergeTree ORDER BY tuple() AS
SELECT e, assumeNotNull(moment) AS moment, e.data.ids.response_id IS NOT NULL AND ifNull(
  e.data.accounting.deferred = 'true' OR e.data.target.api IN ('responses', 'assistants', 'batch', 'video')
  AND toUInt64OrZero(ifNull(e.data.accounting.reported_output, '')) > 0, false) AS is_bill
FROM tokenweir.judged WHERE reason = '' LIMIT 1 BY e.source, e.id;

-- Of the bills of work that went on after its call, which several ledgers may have seen, the first.
CREATE OR REPLACE TABLE tokenweir.usage ENGINE = MergeTree ORDER BY tuple() AS
SELECT e, moment FROM tokenweir.once WHERE NOT is_bill
UNION ALL
SELECT e, moment FROM tokenweir.once WHERE is_bill
ORDER BY moment, e.source, e.id LIMIT 1 BY e.data.target.resource, e.data.ids.response_id;

CREATE OR REPLACE TABLE tokenweir.left_out ENGINE = MergeTree ORDER BY reason AS
SELECT reason, count() AS lines FROM tokenweir.judged WHERE reason != '' GROUP BY reason
UNION ALL
SELECT 'repeat of an event or a bill', (SELECT count() FROM tokenweir.judged WHERE reason = '') - (SELECT count() FROM tokenweir.usage);

DROP TABLE tokenweir.once;
DROP TABLE tokenweir.judged;

-- The parts of each event that have prices of their own: what is within another number is taken out of it, and a part
-- that exceeds its whole is cut to it. A tool's tokens are of its own model. `calls` is a part without a price.
CREATE OR REPLACE VIEW tokenweir.parts AS
WITH n -> toInt64OrZero(ifNull(n, '')) AS number,
sides AS (
  SELECT moment, e.data.caller AS who, e.data.target AS target, e.data.request AS request, e.data.units AS units,
    assumeNotNull(ifNull(e.data.calls, '1')) AS calls,
    if(e.data.tokens.input IS NULL, 'unknown', assumeNotNull(e.data.accounting.input_quality)) AS input_quality,
    if(e.data.tokens.output IS NULL, 'unknown', assumeNotNull(e.data.accounting.output_quality)) AS output_quality,
    arrayJoin(arrayConcat([tuple(false, '', '', e.data.tokens.input, e.data.tokens.output, e.data.tokens.input_cached,
        e.data.tokens.input_cached_audio, e.data.tokens.input_cached_image, e.data.tokens.input_cache_write,
        e.data.tokens.input_cache_write_long, e.data.tokens.input_audio, e.data.tokens.input_image,
        e.data.tokens.output_audio, e.data.tokens.output_image)],
      arrayMap(t -> tuple(true, ifNull(t.tool, ''), ifNull(t.model, ''), t.input, t.output, t.input_cached,
        NULL, NULL, NULL, NULL, NULL, t.input_image, NULL, t.output_image), e.data.tools))) AS s,
    s.1 AS is_tool, number(s.4) AS i, number(s.5) AS o, least(number(s.6), i) AS c,
    least(number(s.7), c) AS ca, least(number(s.8), c - ca) AS ci, least(number(s.9), i - c) AS w,
    least(number(s.10), w) AS wl, least(greatest(number(s.11) - ca, 0), i - c - w) AS a,
    least(greatest(number(s.12) - ci, 0), i - c - w - a) AS g,
    least(number(s.13), o) AS oa, least(number(s.14), o - oa) AS og
  FROM tokenweir.usage)
SELECT moment, assumeNotNull(who.id) AS caller, ifNull(who.department, '') AS department, ifNull(who.cost_center, '') AS cost_center,
  ifNull(target.provider, '') AS provider, ifNull(target.resource, '') AS resource, ifNull(target.region, '') AS region,
  ifNull(target.deployment, '') AS deployment, if(is_tool, '', coalesce(target.deployment_served, target.deployment, '')) AS served,
  if(is_tool, s.3, coalesce(target.model, target.model_requested, '')) AS model,
  if(target.api = 'batch', 'batch', ifNull(target.service_tier, '')) AS service_tier,
  ifNull(target.speed, '') AS speed, ifNull(target.inference_geo, '') AS inference_geo,
  ifNull(request.size, '') AS size, ifNull(request.quality, '') AS look, s.2 AS tool,
  p.1 AS class, if(is_tool, '', p.2) AS quality, p.3 AS quantity
FROM sides
ARRAY JOIN arrayConcat([
  ('input_uncached', input_quality, i - c - w - a - g), ('input_cached', input_quality, c - ca - ci),
  ('input_cached_audio', input_quality, ca), ('input_cached_image', input_quality, ci),
  ('input_cache_write', input_quality, w - wl), ('input_cache_write_long', input_quality, wl),
  ('input_audio', input_quality, a), ('input_image', input_quality, g),
  ('output_text', output_quality, o - oa - og), ('output_audio', output_quality, oa), ('output_image', output_quality, og)],
  if(is_tool, [], [
  ('calls', multiIf(has([input_quality, output_quality], 'unknown'), 'unknown', has([input_quality, output_quality], 'lower_bound'), 'lower_bound',
    has([input_quality, output_quality], 'estimated'), 'estimated', 'exact'), number(calls)),
  ('audio_ms', '', number(units.audio_ms)), ('video_ms', '', number(units.video_ms)),
  ('images', '', number(units.images)), ('characters', '', number(units.characters)),
  ('pages', '', number(units.pages)), ('search_units', '', number(units.search_units)),
  ('web_searches', '', number(units.web_searches)), ('web_fetches', '', number(units.web_fetches))])) AS p
WHERE p.3 > 0;

-- One row for each combination of what prices depend on, class and period, in the words of the events; `unit` is the
-- price of one token or unit in 10^-18 of the currency. Periods of one combination do not overlap.
CREATE OR REPLACE TABLE tokenweir.prices ENGINE = MergeTree ORDER BY tuple() AS
SELECT * REPLACE (toInt128(unit) AS unit), quality AS look,
  if("from" = '', toDateTime64('1970-01-01', 3, 'UTC'), parseDateTime64BestEffort("from", 3, 'UTC')) AS valid_from,
  if("to" = '', toDateTime64('2200-01-01', 3, 'UTC'), parseDateTime64BestEffort("to", 3, 'UTC')) AS valid_to
FROM file({prices:String}, CSVWithNames, 'deployment String, resource String, model String, region String, service_tier String,
  speed String, inference_geo String, size String, quality String, provider String, class String, "from" String, "to" String,
  unit String, currency String');

-- `cost` is in 10^-18 of the currency, exact; null: nothing of it has a price. `unpriced` is the quantity without one.
-- ASOF takes the price that began last; whether it has ended is asked besides.
CREATE OR REPLACE TABLE tokenweir.daily ENGINE = MergeTree ORDER BY (day, caller, class) AS
SELECT formatDateTime(moment, '%Y-%m-%d') AS day, caller, department, cost_center, resource, region, deployment, model, service_tier,
  tool, class, quality, sum(toInt128(n)) AS quantity, sum(toInt128(n) * price) AS cost, any(paid) AS currency,
  sumIf(toInt128(n), price IS NULL AND class != 'calls') AS unpriced
FROM (
  SELECT u.moment AS moment, u.caller AS caller, u.department AS department, u.cost_center AS cost_center, u.resource AS resource,
    u.region AS region, u.deployment AS deployment, u.model AS model, u.service_tier AS service_tier, u.tool AS tool,
    u.class AS class, u.quality AS quality, u.quantity AS n,
    if(u.moment < r.valid_to, r.unit, NULL) AS price, if(u.moment < r.valid_to, r.currency, NULL) AS paid
  FROM tokenweir.parts AS u
  ASOF LEFT JOIN tokenweir.prices AS r ON r.deployment = u.served AND r.resource = u.resource AND r.model = u.model
    AND r.region = u.region AND r.service_tier = u.service_tier AND r.speed = u.speed AND r.inference_geo = u.inference_geo
    AND r.size = u.size AND r.look = u.look AND r.provider = u.provider AND r.class = u.class AND u.moment >= r.valid_from)
GROUP BY ALL
SETTINGS join_use_nulls = 1;

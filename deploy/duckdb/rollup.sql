-- From events as JSON lines to quantities and money by UTC day, payer, deployment, model, tier and class, exactly.
--
--   SET VARIABLE events = 'archive/**/*.jsonl.gz';
--   SET VARIABLE prices = 'prices-flat.csv';
--   .read deploy/duckdb/rollup.sql
--   FROM daily;
--   FROM left_out;
--
-- It makes three tables: `usage` (each event that counts, once), `daily` (the sums) and `left_out` (the lines that do not
-- count, by reason).
SET TimeZone = 'UTC'; -- a day is a day of UTC, wherever this runs
SET preserve_insertion_order = false;

-- A line that is no event becomes a row of nulls. Numbers are read as they are written: a column of integers would
-- round 1.5, and make null of what is too large, without a word.
CREATE OR REPLACE TEMP TABLE lines AS
SELECT source, id, type, "time" AS moment, data.caller AS caller, data.target AS target, data.request AS request,
  data.accounting AS accounting, data.tokens AS tokens, data.units AS units, data.tools AS tools,
  data.calls::VARCHAR AS calls, data.stream.outcome AS outcome, data.ids.response_id AS response_id
FROM read_json(getvariable('events'), format = 'newline_delimited', records = true, ignore_errors = true, columns = {
  source: 'VARCHAR', id: 'VARCHAR', type: 'VARCHAR', "time": 'TIMESTAMPTZ',
  data: 'STRUCT(
    caller STRUCT(id VARCHAR, department VARCHAR, cost_center VARCHAR),
    target STRUCT(provider VARCHAR, api VARCHAR, resource VARCHAR, region VARCHAR, deployment VARCHAR, deployment_served VARCHAR,
                  model VARCHAR, model_requested VARCHAR, service_tier VARCHAR, speed VARCHAR, inference_geo VARCHAR),
    request STRUCT(size VARCHAR, quality VARCHAR),
    tokens STRUCT("input" JSON, "output" JSON, input_cached JSON, input_cached_audio JSON, input_cached_image JSON,
                  input_cache_write JSON, input_cache_write_long JSON, input_audio JSON, input_image JSON,
                  output_audio JSON, output_image JSON),
    units STRUCT(audio_ms JSON, video_ms JSON, images JSON, "characters" JSON, pages JSON, search_units JSON,
                 web_searches JSON, web_fetches JSON),
    tools STRUCT(tool VARCHAR, model VARCHAR, "input" JSON, "output" JSON, input_cached JSON, input_image JSON,
                 output_image JSON)[],
    accounting STRUCT(input_quality VARCHAR, output_quality VARCHAR, deferred BOOLEAN, reported_output JSON),
    "stream" STRUCT(outcome VARCHAR), calls JSON, ids STRUCT(response_id VARCHAR))'});

-- All numbers are whole, not negative and below 10^14; what is not known is null or absent.
CREATE OR REPLACE TEMP MACRO plain(numbers) AS coalesce(regexp_full_match(numbers::JSON::VARCHAR,
  '\[?(\{("(tool|model)":("([^"\\]|\\.)*"|null),?|"[a-z_]+":([0-9]{1,14}|null),?)*\},?)*\]?'), true);

-- Why a line does not count; null: it does, unless it is a repeat.
CREATE OR REPLACE TEMP TABLE judged AS
SELECT *, CASE
  WHEN type = 'dev.tokenweir.control.v1' THEN 'control event'
  WHEN type IS NULL OR type NOT IN ('dev.tokenweir.usage.v1', 'dev.tokenweir.summary.v1') THEN 'no event of this schema'
  WHEN (source IS NOT NULL AND id IS NOT NULL AND moment IS NOT NULL AND caller.id IS NOT NULL AND target IS NOT NULL
    AND tokens IS NOT NULL AND plain(tokens) AND plain(units) AND plain(tools)
    AND accounting.input_quality IN ('exact', 'lower_bound', 'estimated', 'unknown')
    AND accounting.output_quality IN ('exact', 'lower_bound', 'estimated', 'unknown')
    AND CASE type WHEN 'dev.tokenweir.summary.v1' THEN regexp_full_match(calls, '[0-9]{1,14}')
      ELSE outcome IN ('complete', 'client_disconnect', 'upstream_error', 'upstream_eof', 'timeout', 'shutdown', 'crashed',
                       'rejected', 'upstream_status') END) IS NOT true THEN 'event that is not whole'
  WHEN outcome = 'rejected' THEN 'call that was rejected'
  END AS reason
FROM lines;
DROP TABLE lines;

-- How well a call is known: as well as the less certain of its numbers.
CREATE OR REPLACE MACRO worse(one, other) AS CASE WHEN 'unknown' IN (one, other) THEN 'unknown'
  WHEN 'lower_bound' IN (one, other) THEN 'lower_bound' WHEN 'estimated' IN (one, other) THEN 'estimated' ELSE one END;
CREATE OR REPLACE MACRO number(written) AS coalesce(TRY_CAST(written::VARCHAR AS BIGINT), 0);

-- Each event once. Of the bills of work that went on after its call, which several ledgers may have seen, the first.
CREATE OR REPLACE TABLE usage AS
WITH once AS (SELECT DISTINCT ON (source, id) * EXCLUDE reason FROM judged WHERE reason IS NULL),
marked AS (
  SELECT *, response_id IS NOT NULL AND (coalesce(accounting.deferred, false)
    OR target.api IN ('responses', 'assistants', 'batch', 'video') AND number(accounting.reported_output) > 0) AS is_bill
  FROM once)
SELECT * EXCLUDE is_bill FROM marked WHERE NOT is_bill
UNION ALL
SELECT * EXCLUDE is_bill FROM marked WHERE is_bill
QUALIFY row_number() OVER (PARTITION BY target.resource, response_id ORDER BY moment, source, id) = 1;

CREATE OR REPLACE TABLE left_out AS
SELECT reason, count(*) AS lines FROM judged WHERE reason IS NOT NULL GROUP BY reason
UNION ALL
SELECT 'repeat of an event or a bill', (SELECT count(*) FROM judged WHERE reason IS NULL) - (SELECT count(*) FROM usage);
DROP TABLE judged;

-- The parts of each event that have prices of their own: what is within another number is taken out of it, and a part
-- that exceeds its whole is cut to it. A tool's tokens are of its own model. `calls` is a part without a price.
CREATE OR REPLACE VIEW parts AS
WITH keyed AS (
  SELECT moment, caller.id AS caller, coalesce(caller.department, '') AS department,
    coalesce(caller.cost_center, '') AS cost_center, coalesce(target.provider, '') AS provider,
    coalesce(target.resource, '') AS resource, coalesce(target.region, '') AS region,
    coalesce(target.deployment, '') AS deployment, coalesce(target.deployment_served, target.deployment, '') AS served,
    coalesce(target.model, target.model_requested, '') AS model,
    CASE target.api WHEN 'batch' THEN 'batch' ELSE coalesce(target.service_tier, '') END AS service_tier,
    coalesce(target.speed, '') AS speed, coalesce(target.inference_geo, '') AS inference_geo,
    coalesce(request.size, '') AS size, coalesce(request.quality, '') AS look,
    CASE WHEN TRY_CAST(tokens.input::VARCHAR AS BIGINT) IS NULL THEN 'unknown' ELSE accounting.input_quality END AS input_quality,
    CASE WHEN TRY_CAST(tokens.output::VARCHAR AS BIGINT) IS NULL THEN 'unknown' ELSE accounting.output_quality END AS output_quality,
    tokens, units, tools,
    coalesce(calls::BIGINT, 1) AS calls
  FROM usage),
sides AS (
  SELECT * EXCLUDE (tokens, units, tools, calls), '' AS tool, number(tokens.input) AS i, number(tokens.output) AS o,
    least(number(tokens.input_cached), i) AS c, least(number(tokens.input_cached_audio), c) AS ca,
    least(number(tokens.input_cached_image), c - ca) AS ci, least(number(tokens.input_cache_write), i - c) AS w,
    least(number(tokens.input_cache_write_long), w) AS wl,
    least(greatest(number(tokens.input_audio) - ca, 0), i - c - w) AS a,
    least(greatest(number(tokens.input_image) - ci, 0), i - c - w - a) AS g,
    least(number(tokens.output_audio), o) AS oa, least(number(tokens.output_image), o - oa) AS og
  FROM keyed
  UNION ALL
  SELECT * EXCLUDE (tokens, units, tools, calls, used) REPLACE ('' AS served, coalesce(used.model, '') AS model,
      '' AS input_quality, '' AS output_quality),
    used.tool, number(used.input) AS i, number(used.output) AS o, least(number(used.input_cached), i) AS c, 0, 0, 0, 0, 0,
    least(number(used.input_image), i - c) AS g, 0, least(number(used.output_image), o)
  FROM (SELECT *, unnest(tools) AS used FROM keyed WHERE tools IS NOT NULL)),
listed AS (
  SELECT * EXCLUDE (i, o, c, ca, ci, w, wl, a, g, oa, og, input_quality, output_quality), unnest([
      {'class': 'input_uncached', 'quality': input_quality, 'quantity': i - c - w - a - g},
      {'class': 'input_cached', 'quality': input_quality, 'quantity': c - ca - ci},
      {'class': 'input_cached_audio', 'quality': input_quality, 'quantity': ca},
      {'class': 'input_cached_image', 'quality': input_quality, 'quantity': ci},
      {'class': 'input_cache_write', 'quality': input_quality, 'quantity': w - wl},
      {'class': 'input_cache_write_long', 'quality': input_quality, 'quantity': wl},
      {'class': 'input_audio', 'quality': input_quality, 'quantity': a},
      {'class': 'input_image', 'quality': input_quality, 'quantity': g},
      {'class': 'output_text', 'quality': output_quality, 'quantity': o - oa - og},
      {'class': 'output_audio', 'quality': output_quality, 'quantity': oa},
      {'class': 'output_image', 'quality': output_quality, 'quantity': og}], recursive := true)
  FROM sides
  UNION ALL
  SELECT * EXCLUDE (tokens, units, tools, calls, input_quality, output_quality), '' AS tool, unnest([
      {'class': 'calls', 'quality': worse(input_quality, output_quality), 'quantity': calls},
      {'class': 'audio_ms', 'quality': '', 'quantity': number(units.audio_ms)},
      {'class': 'video_ms', 'quality': '', 'quantity': number(units.video_ms)},
      {'class': 'images', 'quality': '', 'quantity': number(units.images)},
      {'class': 'characters', 'quality': '', 'quantity': number(units."characters")},
      {'class': 'pages', 'quality': '', 'quantity': number(units.pages)},
      {'class': 'search_units', 'quality': '', 'quantity': number(units.search_units)},
      {'class': 'web_searches', 'quality': '', 'quantity': number(units.web_searches)},
      {'class': 'web_fetches', 'quality': '', 'quantity': number(units.web_fetches)}], recursive := true)
  FROM keyed)
SELECT * FROM listed WHERE quantity > 0;

-- One row for each combination of what prices depend on, class and period, in the words of the events; `unit` is the
-- price of one token or unit in 10^-18 of the currency. Periods of one combination do not overlap.
CREATE OR REPLACE TABLE prices AS
SELECT deployment, resource, model, region, service_tier, speed, inference_geo, size, quality AS look, provider, class,
  coalesce(nullif("from", '')::TIMESTAMPTZ, '-infinity') AS valid_from, coalesce(nullif("to", '')::TIMESTAMPTZ, 'infinity') AS valid_to,
  unit::HUGEINT AS unit, currency
FROM read_csv(getvariable('prices'), header = true, all_varchar = true, nullstr = '\N');

-- `cost` is in 10^-18 of the currency, exact; null: nothing of it has a price. `unpriced` is the quantity without one.
CREATE OR REPLACE TABLE daily AS
SELECT strftime(moment, '%Y-%m-%d') AS day, caller, department, cost_center, p.resource, p.region, p.deployment, p.model,
  p.service_tier, tool, p.class, p.quality, sum(quantity) AS quantity,
  sum(quantity::HUGEINT * unit) AS cost, any_value(currency) AS currency,
  coalesce(sum(quantity) FILTER (unit IS NULL AND p.class <> 'calls'), 0) AS unpriced
FROM parts AS p
LEFT JOIN prices AS r ON r.deployment = p.served AND r.resource = p.resource AND r.model = p.model AND r.region = p.region
  AND r.service_tier = p.service_tier AND r.speed = p.speed AND r.inference_geo = p.inference_geo AND r.size = p.size
  AND r.look = p.look AND r.provider = p.provider AND r.class = p.class AND moment >= r.valid_from AND moment < r.valid_to
GROUP BY ALL;

-- Two prices for one moment would double what they price.
SELECT CASE WHEN (SELECT sum(quantity) FROM daily) IS DISTINCT FROM (SELECT sum(quantity) FROM parts)
  THEN error('prices overlap: there are two for one deployment, model, class and moment') END AS problem;

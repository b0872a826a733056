-- From the topic to quantities and money by UTC day, payer, deployment, model, tier and class, exactly, as a job that
-- goes on: README.md says how to start, move and price it. Words in CAPITALS are yours to replace.
SET 'pipeline.name' = 'ai-usage-daily';
SET 'execution.runtime-mode' = 'streaming';
SET 'table.local-time-zone' = 'UTC';            -- a day is a day of UTC, wherever this runs
SET 'table.exec.state.ttl' = '0';               -- README.md says what a bound costs
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.interval' = '10 s';
SET 'execution.checkpointing.dir' = 'CHECKPOINTS';
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'table.exec.mini-batch.enabled' = 'true';   -- a sum is written once a batch, not once an event
SET 'table.exec.mini-batch.allow-latency' = '2 s';
SET 'table.exec.mini-batch.size' = '5000';

-- Numbers are read as they are written: a column of integers would cut 1.5, and make null of what is too large.
CREATE TABLE usage_raw (
  source STRING, id STRING, `type` STRING, `time` TIMESTAMP_LTZ(3),
  data ROW<
    caller ROW<id STRING, department STRING, cost_center STRING>,
    target ROW<provider STRING, api STRING, resource STRING, region STRING, deployment STRING, deployment_served STRING,
               model STRING, model_requested STRING, service_tier STRING, speed STRING, inference_geo STRING>,
    request ROW<size STRING, quality STRING>,
    tokens ROW<`input` STRING, `output` STRING, input_cached STRING, input_cached_audio STRING, input_cached_image STRING,
               input_cache_write STRING, input_cache_write_long STRING, input_audio STRING, input_image STRING,
               output_audio STRING, output_image STRING>,
    units ROW<audio_ms STRING, video_ms STRING, images STRING, `characters` STRING, pages STRING, search_units STRING,
              web_searches STRING, web_fetches STRING>,
    tools ARRAY<ROW<tool STRING, model STRING, `input` STRING, `output` STRING, input_cached STRING, input_image STRING,
                    output_image STRING>>,
    accounting ROW<input_quality STRING, output_quality STRING, deferred BOOLEAN, reported_output STRING>,
    `stream` ROW<outcome STRING>, calls STRING, ids ROW<response_id STRING>>,
  arrived AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = 'ai-usage', 'properties.bootstrap.servers' = 'BROKERS',
  'properties.group.id' = 'ai-usage-daily', 'scan.startup.mode' = 'earliest-offset',
  'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'json.ignore-parse-errors' = 'true'
);

-- One row for each combination of what prices depend on, class and period, in the words of the events; `unit` is the
-- price of one token or unit in 10^-18 of the currency. prices.sql fills it. A row that changes corrects the sums.
CREATE TABLE prices (
  deployment STRING, resource STRING, model STRING, region STRING, service_tier STRING, speed STRING, inference_geo STRING,
  size STRING, quality STRING, provider STRING, class STRING, `from` STRING, `to` STRING, unit DECIMAL(38, 0), currency STRING,
  PRIMARY KEY (deployment, resource, model, region, service_tier, speed, inference_geo, size, quality, provider, class, `from`) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'ai-usage-prices', 'properties.bootstrap.servers' = 'BROKERS',
  'properties.group.id' = 'ai-usage-daily-prices', 'key.format' = 'json', 'value.format' = 'json'
);

-- `cost` is in 10^-18 of the currency, exact; null: nothing of it has a price. `unpriced` is the quantity without one.
CREATE TABLE daily (
  `day` STRING, caller STRING, department STRING, cost_center STRING, resource STRING, region STRING, deployment STRING,
  model STRING, service_tier STRING, tool STRING, class STRING, quality STRING,
  quantity BIGINT, cost DECIMAL(38, 0), currency STRING, unpriced BIGINT,
  PRIMARY KEY (`day`, caller, department, cost_center, resource, region, deployment, model, service_tier, tool, class, quality) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'ai-usage-daily', 'properties.bootstrap.servers' = 'BROKERS',
  'key.format' = 'json', 'value.format' = 'json', 'value.json.encode.decimal-as-plain-number' = 'true'
);

CREATE TABLE left_out (reason STRING, messages BIGINT, PRIMARY KEY (reason) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'ai-usage-left-out', 'properties.bootstrap.servers' = 'BROKERS',
  'key.format' = 'json', 'value.format' = 'json'
);

-- Why a message does not count; empty: it does, unless it is a repeat.
CREATE VIEW judged AS
SELECT *, CASE
  WHEN `type` = 'dev.tokenweir.control.v1' THEN 'control event'
  WHEN `type` IS NULL OR `type` NOT IN ('dev.tokenweir.usage.v1', 'dev.tokenweir.summary.v1') THEN 'no event of this schema'
  WHEN (source IS NOT NULL AND id IS NOT NULL AND `time` IS NOT NULL AND data.caller.id IS NOT NULL
    AND data.target IS NOT NULL AND data.tokens IS NOT NULL
    AND data.accounting.input_quality IN ('exact', 'lower_bound', 'estimated', 'unknown')
    AND data.accounting.output_quality IN ('exact', 'lower_bound', 'estimated', 'unknown')
    AND CASE `type` WHEN 'dev.tokenweir.summary.v1' THEN REGEXP(data.calls, '^[0-9]{1,14}$')
      ELSE data.`stream`.outcome IN ('complete', 'client_disconnect', 'upstream_error', 'upstream_eof', 'timeout', 'shutdown',
                                     'crashed', 'rejected', 'upstream_status') END
    AND REGEXP(CONCAT_WS(',', '0', data.tokens.`input`, data.tokens.`output`, data.tokens.input_cached,
      data.tokens.input_cached_audio, data.tokens.input_cached_image, data.tokens.input_cache_write,
      data.tokens.input_cache_write_long, data.tokens.input_audio, data.tokens.input_image, data.tokens.output_audio,
      data.tokens.output_image, data.units.audio_ms, data.units.video_ms, data.units.images, data.units.`characters`,
      data.units.pages, data.units.search_units, data.units.web_searches, data.units.web_fetches),
      '^[0-9]{1,14}(,[0-9]{1,14})*$')) IS NOT TRUE THEN 'event that is not whole'
  WHEN data.`stream`.outcome = 'rejected' THEN 'call that was rejected'
  ELSE '' END AS reason
FROM usage_raw;

-- Each event once: the first copy that arrived.
CREATE VIEW marked AS
SELECT source, id, `time`, data, data.ids.response_id IS NOT NULL AND (COALESCE(data.accounting.deferred, FALSE)
  OR COALESCE(data.target.api, '') IN ('responses', 'assistants', 'batch', 'video')
  AND COALESCE(TRY_CAST(data.accounting.reported_output AS BIGINT), 0) > 0) AS is_bill
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY source, id ORDER BY arrived) AS `copy` FROM judged WHERE reason = '')
WHERE `copy` = 1;

-- Of the bills of work that went on after its call, which several ledgers may have seen, the earliest; one that
-- arrives late takes the place of another.
CREATE VIEW events AS
SELECT `time`, data FROM marked WHERE NOT is_bill
UNION ALL
SELECT `time`, data FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY data.target.resource, data.ids.response_id ORDER BY `time`, source, id) AS nth
  FROM marked WHERE is_bill)
WHERE nth = 1;

CREATE VIEW keyed AS
SELECT FLOOR(`time` TO HOUR) AS `hour`, data.caller.id AS caller, COALESCE(data.caller.department, '') AS department,
  COALESCE(data.caller.cost_center, '') AS cost_center, COALESCE(data.target.provider, '') AS provider,
  COALESCE(data.target.resource, '') AS resource, COALESCE(data.target.region, '') AS region,
  COALESCE(data.target.deployment, '') AS deployment,
  COALESCE(data.target.deployment_served, data.target.deployment, '') AS served,
  COALESCE(data.target.model, data.target.model_requested, '') AS model,
  CASE data.target.api WHEN 'batch' THEN 'batch' ELSE COALESCE(data.target.service_tier, '') END AS service_tier,
  COALESCE(data.target.speed, '') AS speed, COALESCE(data.target.inference_geo, '') AS inference_geo,
  COALESCE(data.request.size, '') AS size, COALESCE(data.request.quality, '') AS look,
  CASE WHEN data.tokens.`input` IS NULL THEN 'unknown' ELSE data.accounting.input_quality END AS iq,
  CASE WHEN data.tokens.`output` IS NULL THEN 'unknown' ELSE data.accounting.output_quality END AS oq,
  data.tokens AS t, data.units AS u, data.tools AS tools, COALESCE(CAST(data.calls AS BIGINT), 1) AS calls
FROM events;

-- The numbers of the call, and those of each tool, whose tokens are of a model of its own.
CREATE VIEW sides AS
SELECT `hour`, caller, department, cost_center, provider, resource, region, deployment, served, model, service_tier, speed,
  inference_geo, size, look, '' AS tool, iq, oq,
  COALESCE(CAST(t.`input` AS BIGINT), 0) AS i, COALESCE(CAST(t.`output` AS BIGINT), 0) AS o,
  COALESCE(CAST(t.input_cached AS BIGINT), 0) AS ic, COALESCE(CAST(t.input_cached_audio AS BIGINT), 0) AS ica,
  COALESCE(CAST(t.input_cached_image AS BIGINT), 0) AS ici, COALESCE(CAST(t.input_cache_write AS BIGINT), 0) AS iw,
  COALESCE(CAST(t.input_cache_write_long AS BIGINT), 0) AS iwl, COALESCE(CAST(t.input_audio AS BIGINT), 0) AS ia,
  COALESCE(CAST(t.input_image AS BIGINT), 0) AS ii, COALESCE(CAST(t.output_audio AS BIGINT), 0) AS oa,
  COALESCE(CAST(t.output_image AS BIGINT), 0) AS oi
FROM keyed
UNION ALL
SELECT `hour`, caller, department, cost_center, provider, resource, region, deployment, '', COALESCE(x.model, ''), service_tier,
  speed, inference_geo, size, look, x.tool, '', '',
  COALESCE(CAST(x.`input` AS BIGINT), 0), COALESCE(CAST(x.`output` AS BIGINT), 0), COALESCE(CAST(x.input_cached AS BIGINT), 0),
  0, 0, 0, 0, 0, COALESCE(CAST(x.input_image AS BIGINT), 0), 0, COALESCE(CAST(x.output_image AS BIGINT), 0)
FROM keyed CROSS JOIN UNNEST(keyed.tools) AS x (tool, model, `input`, `output`, input_cached, input_image, output_image);

-- What is within another number is taken out of it, and a part that exceeds its whole is cut to it: first what the cache
-- held, then what was written to it, audio and images; what is left is text.
CREATE VIEW cut_1 AS
SELECT *, LEAST(ic, i) AS c, LEAST(ica, ic, i) AS ca, LEAST(oa, o) AS xa FROM sides;

CREATE VIEW cut_2 AS
SELECT *, LEAST(ici, c - ca) AS ci, LEAST(iw, i - c) AS w, GREATEST(ia - ca, 0) AS a0, LEAST(oi, o - xa) AS xg FROM cut_1;

CREATE VIEW cut_3 AS
SELECT *, LEAST(iwl, w) AS wl, LEAST(a0, i - c - w) AS a, GREATEST(ii - ci, 0) AS g0 FROM cut_2;

CREATE VIEW cut AS
SELECT *, LEAST(g0, i - c - w - a) AS g FROM cut_3;

-- UNNEST keeps no state. A join with VALUES would keep every event, and read its rows again after a restore.
CREATE VIEW parts AS
SELECT `hour`, caller, department, cost_center, provider, resource, region, deployment, served, model, service_tier, speed,
  inference_geo, size, look, tool, p.class, p.quality, p.quantity
FROM cut CROSS JOIN UNNEST(ARRAY[
  ROW('input_uncached', iq, i - c - w - a - g), ROW('input_cached', iq, c - ca - ci), ROW('input_cached_audio', iq, ca),
  ROW('input_cached_image', iq, ci), ROW('input_cache_write', iq, w - wl), ROW('input_cache_write_long', iq, wl),
  ROW('input_audio', iq, a), ROW('input_image', iq, g), ROW('output_text', oq, o - xa - xg), ROW('output_audio', oq, xa),
  ROW('output_image', oq, xg)]) AS p (class, quality, quantity)
WHERE p.quantity > 0
UNION ALL
SELECT `hour`, caller, department, cost_center, provider, resource, region, deployment, served, model, service_tier, speed,
  inference_geo, size, look, '', p.class, p.quality, p.quantity
FROM keyed CROSS JOIN UNNEST(ARRAY[
  ROW('calls', CASE WHEN 'unknown' IN (iq, oq) THEN 'unknown' WHEN 'lower_bound' IN (iq, oq) THEN 'lower_bound'
    WHEN 'estimated' IN (iq, oq) THEN 'estimated' ELSE 'exact' END, calls),
  ROW('audio_ms', '', COALESCE(CAST(u.audio_ms AS BIGINT), 0)), ROW('video_ms', '', COALESCE(CAST(u.video_ms AS BIGINT), 0)),
  ROW('images', '', COALESCE(CAST(u.images AS BIGINT), 0)), ROW('characters', '', COALESCE(CAST(u.`characters` AS BIGINT), 0)),
  ROW('pages', '', COALESCE(CAST(u.pages AS BIGINT), 0)), ROW('search_units', '', COALESCE(CAST(u.search_units AS BIGINT), 0)),
  ROW('web_searches', '', COALESCE(CAST(u.web_searches AS BIGINT), 0)),
  ROW('web_fetches', '', COALESCE(CAST(u.web_fetches AS BIGINT), 0))]) AS p (class, quality, quantity)
WHERE p.quantity > 0;

-- First sums by the hour, so that the join keeps hours and not events. That is why prices begin at whole hours.
CREATE VIEW hourly AS
SELECT `hour`, caller, department, cost_center, provider, resource, region, deployment, served, model, service_tier, speed,
  inference_geo, size, look, tool, class, quality, SUM(quantity) AS quantity
FROM parts
GROUP BY `hour`, caller, department, cost_center, provider, resource, region, deployment, served, model, service_tier, speed,
  inference_geo, size, look, tool, class, quality;

CREATE VIEW periods AS
SELECT deployment, resource, model, region, service_tier, speed, inference_geo, size, quality, provider, class, unit, currency,
  CAST(CASE `from` WHEN '' THEN '1970-01-01 00:00:00' ELSE REPLACE(REPLACE(`from`, 'T', ' '), 'Z', '') END AS TIMESTAMP_LTZ(3)) AS valid_from,
  CAST(CASE `to` WHEN '' THEN '9999-01-01 00:00:00' ELSE REPLACE(REPLACE(`to`, 'T', ' '), 'Z', '') END AS TIMESTAMP_LTZ(3)) AS valid_to
FROM prices
-- Another period cannot be told apart within an hour: what only it prices stays without a price, which is seen.
WHERE REGEXP(`from`, '^$|:00:00([.]0+)?Z$') AND REGEXP(`to`, '^$|:00:00([.]0+)?Z$');

EXECUTE STATEMENT SET BEGIN
INSERT INTO daily
SELECT DATE_FORMAT(h.`hour`, 'yyyy-MM-dd'), h.caller, h.department, h.cost_center, h.resource, h.region, h.deployment, h.model,
  h.service_tier, h.tool, h.class, h.quality, SUM(h.quantity), SUM(CAST(h.quantity AS DECIMAL(38, 0)) * p.unit),
  MAX(p.currency), SUM(CASE WHEN p.unit IS NULL AND h.class <> 'calls' THEN h.quantity ELSE 0 END)
FROM hourly AS h LEFT JOIN periods AS p
  ON p.deployment = h.served AND p.resource = h.resource AND p.model = h.model AND p.region = h.region
  AND p.service_tier = h.service_tier AND p.speed = h.speed AND p.inference_geo = h.inference_geo AND p.size = h.size
  AND p.quality = h.look AND p.provider = h.provider AND p.class = h.class
  AND h.`hour` >= p.valid_from AND h.`hour` < p.valid_to
GROUP BY DATE_FORMAT(h.`hour`, 'yyyy-MM-dd'), h.caller, h.department, h.cost_center, h.resource, h.region, h.deployment, h.model,
  h.service_tier, h.tool, h.class, h.quality;

INSERT INTO left_out
SELECT reason, COUNT(*) FROM judged WHERE reason <> '' GROUP BY reason;
END;

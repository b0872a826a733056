-- Puts a table of prices onto the topic that rollup.sql reads, as a job that ends: `tokenweir report .. --prices FILE
-- --expand PRICES` writes it. Run it again for new periods, models or corrections: a row with the same key replaces the old one.
SET 'pipeline.name' = 'ai-usage-prices';
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE flat (
  deployment STRING, resource STRING, model STRING, region STRING, service_tier STRING, speed STRING, inference_geo STRING,
  size STRING, quality STRING, provider STRING, class STRING, `from` STRING, `to` STRING, unit STRING, currency STRING
) WITH ('connector' = 'filesystem', 'path' = 'PRICES', 'format' = 'csv');

CREATE TABLE prices (
  deployment STRING, resource STRING, model STRING, region STRING, service_tier STRING, speed STRING, inference_geo STRING,
  size STRING, quality STRING, provider STRING, class STRING, `from` STRING, `to` STRING, unit DECIMAL(38, 0), currency STRING,
  PRIMARY KEY (deployment, resource, model, region, service_tier, speed, inference_geo, size, quality, provider, class, `from`) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'ai-usage-prices', 'properties.bootstrap.servers' = 'BROKERS',
  'key.format' = 'json', 'value.format' = 'json', 'value.json.encode.decimal-as-plain-number' = 'true'
);

-- The header is a row like any other to this reader.
INSERT INTO prices
SELECT deployment, resource, model, region, service_tier, speed, inference_geo, size, quality, provider, class, `from`, `to`,
  CAST(unit AS DECIMAL(38, 0)), currency
FROM flat WHERE unit <> 'unit';

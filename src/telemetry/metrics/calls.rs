//! Metrics of calls that have settled: how many, how long, how many tokens, and how well these are known.

use prometheus::{HistogramVec, IntCounterVec};
use strum::VariantArray;

use super::declare::Declare;
use super::edges::{DURATION_S, FIRST_TOKEN_S, PER_TOKEN_S, TOKENS};
use metering::usage::{Outcome, Side, TokenClass, Unit, Usage};

/// The two classes that hold all others.
pub(super) const TOTALS: [TokenClass; 2] = [TokenClass::Input, TokenClass::Output];

#[derive(Debug)]
pub(super) struct CallMetrics {
    requests: IntCounterVec,
    tokens: IntCounterVec,
    units: IntCounterVec,
    first_token_seconds: HistogramVec,
    per_token_seconds: HistogramVec,
    duration_seconds: HistogramVec,
    request_tokens: HistogramVec,
    interruptions: IntCounterVec,
    accounting: IntCounterVec,
}

impl CallMetrics {
    pub(super) fn declare(d: &mut Declare) -> Option<CallMetrics> {
        Some(CallMetrics {
            requests: d.counters(
                "tokenweir_requests_total",
                "Calls that ended.",
                &["api", "deployment", "status_class", "outcome"],
            )?,
            tokens: d.counters(
                "tokenweir_tokens_total",
                "Tokens. Classes overlap: sum only input and output.",
                &["deployment", "model", "class", "source"],
            )?,
            units: d.counters(
                "tokenweir_units_total",
                "What is billed otherwise than by tokens. unit: audio_ms, video_ms, images, characters, pages, search_units, web_searches, web_fetches.",
                &["deployment", "model", "unit"],
            )?,
            first_token_seconds: d.histograms(
                "tokenweir_time_to_first_token_seconds",
                "From the request's head to the first token of the answer.",
                FIRST_TOKEN_S,
                &["api", "deployment"],
            )?,
            per_token_seconds: d.histograms(
                "tokenweir_time_per_output_token_seconds",
                "(duration - first token) / (output - 1), streams only.",
                PER_TOKEN_S,
                &["api", "deployment"],
            )?,
            duration_seconds: d.histograms(
                "tokenweir_request_duration_seconds",
                "From the request's head to the last byte of the answer.",
                DURATION_S,
                &["api", "deployment", "outcome"],
            )?,
            request_tokens: d.histograms(
                "tokenweir_request_tokens",
                "Tokens of one call.",
                TOKENS,
                &["class"],
            )?,
            interruptions: d.counters(
                "tokenweir_stream_interruptions_total",
                "Streams that did not complete.",
                &["outcome"],
            )?,
            accounting: d.counters(
                "tokenweir_accounting_total",
                "Calls by how their numbers are known.",
                &["input_source", "output_source", "input_quality", "output_quality"],
            )?,
        })
    }

    /// Counts a call; deployment and model are those of its labels.
    pub(super) fn settled(&self, usage: &Usage, deployment: &str, model: &str) {
        let (api, outcome) = (usage.target.api.as_str(), usage.stream.outcome);
        let status_class = status_class(usage.request.status);
        self.requests.with_label_values(&[api, deployment, status_class, outcome.as_str()]).inc();
        if outcome != Outcome::Complete {
            self.interruptions.with_label_values(&[outcome.as_str()]).inc();
        }
        self.count_tokens(usage, deployment, model);
        for unit in Unit::VARIANTS {
            if let Some(count) = unit.of(&usage.units) {
                self.units.with_label_values(&[deployment, model, unit.as_str()]).inc_by(count);
            }
        }
        self.count_times(usage, api, deployment);
    }

    fn count_tokens(&self, usage: &Usage, deployment: &str, model: &str) {
        let (tokens, accounting) = (&usage.tokens, &usage.accounting);
        let (input_source, output_source) =
            (accounting.input_source.as_str(), accounting.output_source.as_str());
        for class in TokenClass::VARIANTS {
            let Some(count) = class.of(tokens) else { continue };
            let source = match class.side() {
                Side::Input => input_source,
                Side::Output => output_source,
            };
            self.tokens.with_label_values(&[deployment, model, class.as_str(), source]).inc_by(count);
            if TOTALS.contains(class) {
                self.request_tokens.with_label_values(&[class.as_str()]).observe(count as f64);
            }
        }
        self.accounting
            .with_label_values(&[
                input_source,
                output_source,
                accounting.input_quality.as_str(),
                accounting.output_quality.as_str(),
            ])
            .inc();
    }

    fn count_times(&self, usage: &Usage, api: &str, deployment: &str) {
        let Some(duration_ms) = usage.timing.duration_ms else { return };
        let outcome = usage.stream.outcome.as_str();
        self.duration_seconds.with_label_values(&[api, deployment, outcome]).observe(seconds(duration_ms));
        let Some(first_ms) = usage.timing.first_token_ms else { return };
        self.first_token_seconds.with_label_values(&[api, deployment]).observe(seconds(first_ms));
        if let (Some(true), Some(output @ 2..)) = (usage.request.stream, usage.tokens.output) {
            let per_token = seconds(duration_ms.saturating_sub(first_ms)) / (output - 1) as f64;
            self.per_token_seconds.with_label_values(&[api, deployment]).observe(per_token);
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn status_class(status: u16) -> &'static str {
    match status {
        0 => "none",
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

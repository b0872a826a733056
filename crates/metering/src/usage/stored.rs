//! Reading events again, as they were stored or published: the only reader, for reports, proofs and the
//! publisher.
//!
//! Events of older and newer minor versions of the schema both fit: of the data only those members are
//! read that some reader needs, and members that are not known are ignored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use smol_str::SmolStr;
use strum::VariantArray;

use super::capture::Capture;
use super::control::Control;
use super::envelope::EventType;
use super::event::{Ids, Reporter};
use super::reason::Reason;
use super::tokens::{Tokens, ToolTokens, Units};
use super::vocabulary::{Outcome, Quality};
use crate::api::{Api, DeferredKind};

/// The envelope of a stored event; its data is read by [`StoredEvent::data`].
#[derive(Debug, Deserialize)]
pub struct StoredEvent<'a> {
    /// CloudEvents `specversion`.
    #[serde(borrow)]
    pub specversion: Cow<'a, str>,
    /// Unique within `source`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The ledger that the event comes from.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// CloudEvents `type`, which a later version may have more of.
    #[serde(borrow, rename = "type")]
    pub type_name: Cow<'a, str>,
    /// When the numbers became final.
    pub time: Option<Timestamp>,
    /// The caller's id; for control events the boot.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// The Kafka key.
    #[serde(borrow)]
    pub partitionkey: Cow<'a, str>,
    sequence: Option<SmolStr>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The data of a stored event.
#[derive(Debug, Hash)]
pub enum StoredData {
    /// One call.
    Call(StoredUsage, Outcome),
    /// So many calls that could only be summed.
    Sum(StoredUsage, u64),
    /// Totals to check the others against.
    Control(Box<Control>),
}

/// The usage of calls, as far as it is read again.
#[derive(Debug, Hash, Deserialize)]
pub struct StoredUsage {
    /// Who pays.
    pub caller: StoredCaller,
    /// The deployment and model that were called.
    pub target: StoredTarget,
    /// The HTTP request.
    #[serde(default)]
    pub request: StoredRequest,
    /// The numbers to charge by.
    pub tokens: Tokens,
    /// Tokens of other models that were used inside the call; never part of `tokens`.
    #[serde(default)]
    pub tools: Vec<ToolTokens>,
    /// Things that are billed otherwise than by tokens.
    #[serde(default)]
    pub units: Units,
    /// How they are known.
    pub accounting: StoredAccounting,
    /// Identifiers that join the event to other logs.
    #[serde(default)]
    pub ids: Ids,
    /// When the call began.
    #[serde(default)]
    pub timing: StoredTiming,
    /// The fate of its content; `None` if none was captured, or a later version says it in words of its own.
    #[serde(default, deserialize_with = "known_capture")]
    pub capture: Option<Capture>,
    /// The process that wrote it.
    pub reporter: Reporter,
    /// When the first call of a summary ended; `None` in the event of one call.
    pub from: Option<Timestamp>,
    stream: Option<StoredStream>,
    calls: Option<u64>,
}

/// As in [`Caller`](crate::caller::Caller).
#[derive(Debug, Hash, Deserialize)]
pub struct StoredCaller {
    /// The billing key.
    pub id: SmolStr,
    /// From the caller map.
    pub department: Option<SmolStr>,
    /// From the caller map.
    pub cost_center: Option<SmolStr>,
    /// Second keys, by the names that `--caller-tags` gives them.
    #[serde(default)]
    pub tags: BTreeMap<SmolStr, SmolStr>,
}

/// As in [`Target`](super::Target).
#[derive(Debug, Hash, Deserialize)]
pub struct StoredTarget {
    /// The API, which a later version may have more of.
    #[serde(default)]
    pub api: SmolStr,
    /// The upstream.
    #[serde(default)]
    pub resource: SmolStr,
    /// OpenTelemetry `gen_ai.provider.name`.
    #[serde(default)]
    pub provider: SmolStr,
    /// The Foundry project in the path.
    pub project: Option<SmolStr>,
    /// The Foundry agent that answers.
    pub agent: Option<SmolStr>,
    /// The deployment.
    pub deployment: Option<SmolStr>,
    /// The deployment that served the call.
    pub deployment_served: Option<SmolStr>,
    /// The deployment that could not.
    pub spillover_from: Option<SmolStr>,
    /// The tier that the response names: it prices the call.
    pub service_tier: Option<SmolStr>,
    /// The speed that the response names: it prices the call.
    pub speed: Option<SmolStr>,
    /// Where the response says that the model ran: it prices the call.
    pub inference_geo: Option<SmolStr>,
    /// `x-ms-region`.
    pub region: Option<SmolStr>,
    /// The model that the response names.
    pub model: Option<SmolStr>,
    /// The model that the request names.
    pub model_requested: Option<SmolStr>,
}

/// As in [`Accounting`](super::Accounting).
#[derive(Debug, Hash, Deserialize)]
pub struct StoredAccounting {
    /// How far `tokens.input` can be trusted.
    pub input_quality: Quality,
    /// How far `tokens.output` can be trusted.
    pub output_quality: Quality,
    /// The service's number, where it was reported.
    pub reported_input: Option<u64>,
    /// The service's number, where it was reported.
    pub reported_output: Option<u64>,
    /// It is the bill of a call that another event announced.
    #[serde(default)]
    pub deferred: bool,
    /// The work goes on after the call, and its bill is another event: the reasons say so.
    #[serde(default, rename = "reasons", deserialize_with = "announces_bill")]
    pub announces_bill: bool,
}

/// As in [`Request`](super::Request).
#[derive(Debug, Default, Hash, Deserialize)]
pub struct StoredRequest {
    /// HTTP status given to the caller; 0 where there was none.
    #[serde(default)]
    pub status: u16,
    /// The size of an image or a video, which prices what has no tokens.
    pub size: Option<SmolStr>,
    /// The quality of an image or a video, as `size`.
    pub quality: Option<SmolStr>,
}

/// As in [`Timing`](super::Timing).
#[derive(Debug, Default, Hash, Deserialize)]
pub struct StoredTiming {
    /// The request's head had arrived.
    pub started_at: Option<Timestamp>,
    /// To the last byte.
    pub duration_ms: Option<u64>,
}

#[derive(Debug, Hash, Deserialize)]
struct StoredStream {
    outcome: Outcome,
}

impl<'a> StoredEvent<'a> {
    /// Reads the envelope.
    ///
    /// # Errors
    /// If it is no event, or not whole.
    pub fn read(body: &'a str) -> serde_json::Result<StoredEvent<'a>> {
        serde_json::from_str(body)
    }

    /// The type of the data; `None` if a version of tokenweir that is not known wrote it, or another program.
    pub fn event_type(&self) -> Option<EventType> {
        EventType::of(&self.type_name)
    }

    /// The position in the boot's sequence.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence.as_ref()?.parse().ok()
    }

    /// The boot whose sequence the event carries.
    pub fn boot<'b>(&'b self, data: &'b StoredData) -> &'b str {
        match data {
            StoredData::Control(_) => &self.subject,
            StoredData::Call(usage, _) | StoredData::Sum(usage, _) => &usage.reporter.instance,
        }
    }

    /// The data; `None` if it is not of tokenweir, or not whole.
    pub fn data(&self) -> Option<StoredData> {
        let event_type = self.event_type()?;
        let data = self.data.get();
        if event_type == EventType::Control {
            return serde_json::from_str(data).ok().map(StoredData::Control);
        }
        let usage: StoredUsage = serde_json::from_str(data).ok()?;
        Some(match event_type {
            EventType::Summary => {
                let calls = usage.calls?;
                StoredData::Sum(usage, calls)
            }
            _ => {
                let outcome = usage.stream.as_ref()?.outcome;
                StoredData::Call(usage, outcome)
            }
        })
    }
}

impl StoredUsage {
    /// The work whose bill this is, by the names that are the same in every ledger that has seen the bill. A stream in
    /// the background is its own bill, and another ledger may have met the same work when somebody looked at it.
    pub fn bill_of(&self) -> Option<(&str, &str)> {
        let own = || self.accounting.reported_output > Some(0) && self.target.may_defer();
        let is_bill = self.accounting.deferred || own();
        let id = self.ids.response_id.as_deref().filter(|_| is_bill)?;
        Some((&self.target.resource, id))
    }
}

impl StoredTarget {
    fn defers(&self) -> Option<DeferredKind> {
        Api::VARIANTS.iter().find(|api| api.as_str() == self.api)?.defers()
    }

    /// A call of this API may begin work that goes on after it.
    fn may_defer(&self) -> bool {
        self.defers().is_some()
    }

    /// The call is a batch, or the bill of one.
    pub fn is_batch(&self) -> bool {
        self.defers() == Some(DeferredKind::Batch)
    }

    /// The tier that prices the call: a batch is one, whatever tier its responses name. `None`: the response names none.
    pub fn priced_tier(&self) -> Option<&str> {
        match self.defers() {
            Some(batch @ DeferredKind::Batch) => Some(batch.as_str()),
            _ => self.service_tier.as_deref(),
        }
    }

    /// The deployment whose price counts: where a call spilled over, the one that served it.
    pub fn priced_deployment(&self) -> Option<&str> {
        self.deployment_served.as_deref().or(self.deployment.as_deref())
    }

    /// The model that the response names, or else the one that was asked for.
    pub fn any_model(&self) -> Option<&SmolStr> {
        self.model.as_ref().or(self.model_requested.as_ref())
    }
}

/// One of the reasons says that the work goes on after the call. Of the others nothing is kept.
fn announces_bill<'de, D: Deserializer<'de>>(reasons: D) -> Result<bool, D::Error> {
    let reasons = Vec::<SmolStr>::deserialize(reasons)?;
    let word = |reason: &SmolStr| reason.rsplit(':').next() == Some(Reason::Deferred.as_str());
    Ok(reasons.iter().any(word))
}

/// Reads the fate of the content, where its words are known.
fn known_capture<'de, D: Deserializer<'de>>(capture: D) -> Result<Option<Capture>, D::Error> {
    let capture = Option::<serde_json::Value>::deserialize(capture)?;
    Ok(capture.and_then(|capture| serde_json::from_value(capture).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::caller::{Caller, Trust};
    use crate::usage::{CloudEvent, Summary, SummaryPeriod, Target, Usage};

    fn text(kind: EventType, data: &impl serde::Serialize) -> String {
        let time = Some("2026-11-22T09:15:04.812Z".to_owned());
        let event = CloudEvent::new(kind, "//tokenweir/x", "i".to_owned(), time, "a \"b\"", data);
        serde_json::to_string(&event.with_sequence(7)).unwrap()
    }

    fn usage() -> Usage {
        Usage::draft(
            Caller::unattributed(Trust::None),
            Target { model: Some("m".into()), ..Target::default() },
        )
    }

    #[test]
    fn what_the_sidecar_writes_is_read_again() {
        let body = text(EventType::Usage, &usage());
        let event = StoredEvent::read(&body).unwrap();
        assert_eq!((&*event.subject, event.sequence()), ("a \"b\"", Some(7)));
        assert_eq!(event.time.unwrap().to_string(), "2026-11-22T09:15:04.812Z");
        let Some(StoredData::Call(call, Outcome::Complete)) = event.data() else { panic!("{event:?}") };
        assert_eq!(call.target.any_model().unwrap(), "m");

        let usage = usage();
        let summary = Summary {
            schema_version: String::new(),
            caller: usage.caller,
            target: usage.target,
            calls: 3,
            tokens: Tokens { input: Some(5), output: Some(6), input_cached: Some(4), ..Tokens::default() },
            tools: Vec::new(),
            units: Units { pages: Some(7), ..Units::default() },
            accounting: usage.accounting,
            period: SummaryPeriod {
                hour: Some("2026-11-22T09:00:00Z".to_owned()),
                from: "2026-11-22T09:00:00.000Z".to_owned(),
                to: "2026-11-22T09:15:04.812Z".to_owned(),
            },
            reporter: usage.reporter,
        };
        let body = text(EventType::Summary, &summary);
        let Some(StoredData::Sum(sum, 3)) = StoredEvent::read(&body).unwrap().data() else {
            panic!("{body}")
        };
        assert_eq!((sum.tokens.input, sum.tokens.output, sum.units.pages), (Some(5), Some(6), Some(7)));
        assert_eq!(sum.tokens.input_cached, Some(4));

        let control = Control { accepted: 9, ..Control::default() };
        let body = text(EventType::Control, &control);
        let Some(StoredData::Control(read)) = StoredEvent::read(&body).unwrap().data() else {
            panic!("{body}")
        };
        assert_eq!(*read, control);
    }

    #[test]
    fn the_reasons_say_that_a_bill_comes_later() {
        for (reasons, announces) in [
            (json!([]), false),
            (json!(["output:client_disconnect"]), false),
            (json!(["input:deferred", "output:deferred"]), true),
        ] {
            let mut data = serde_json::to_value(usage()).unwrap();
            data["accounting"]["reasons"] = reasons;
            let body = text(EventType::Usage, &data);
            let Some(StoredData::Call(call, _)) = StoredEvent::read(&body).unwrap().data() else {
                panic!("{body}")
            };
            assert_eq!((call.accounting.announces_bill, call.target.is_batch()), (announces, false));
        }
    }

    /// A version to come may add members and words that no reader here needs.
    #[test]
    fn an_event_of_a_later_version_is_read() {
        let mut data = serde_json::to_value(usage()).unwrap();
        data["target"]["api"] = json!("telepathy");
        data["accounting"]["reasons"] = json!(["output:distracted"]);
        data["stream"]["mood"] = json!({"good": true});
        data["capture"] = json!({"request": "whispered", "response": "full"});
        let body = text(EventType::Usage, &data);
        assert!(matches!(StoredEvent::read(&body).unwrap().data(), Some(StoredData::Call(..))));
        let body = body.replace("usage.v1", "thought.v1");
        let event = StoredEvent::read(&body).unwrap();
        assert_eq!((&*event.type_name, event.event_type()), ("dev.tokenweir.thought.v1", None));
        assert!(event.data().is_none());
    }

    #[test]
    fn what_is_not_whole_has_no_data() {
        for lack in ["caller", "target", "tokens", "accounting", "stream", "reporter"] {
            let mut data = serde_json::to_value(usage()).unwrap();
            data.as_object_mut().unwrap().remove(lack);
            let body = text(EventType::Usage, &data);
            assert!(StoredEvent::read(&body).unwrap().data().is_none(), "without {lack}");
        }
        assert!(StoredEvent::read(r#"{"type": "dev.tokenweir.usage.v1", "id": "1"}"#).is_err());
    }
}

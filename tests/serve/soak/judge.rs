//! Every call against its event: one each, with the caller, the end and the numbers that both sides saw.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::Value;

use super::super::topic::Topic;
use super::traffic::{Call, End, HangUp, PROMPT_TOKENS};

/// Holds all events of the topic against all calls, of which the process has accepted so many.
pub(super) fn judge(calls: &[Arc<Call>], accepted: u64, topic: &Topic) {
    let lines = topic.all(accepted as usize + 1); // with the last control event
    let mut events: HashMap<String, Value> = HashMap::new();
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["type"] == "dev.tokenweir.usage.v1" {
            let id = event["data"]["ids"]["client_request_id"].as_str().unwrap().to_owned();
            assert!(events.insert(id.clone(), event).is_none(), "two events of call {id}");
        }
    }
    assert_eq!(events.len() as u64, accepted, "usage events");
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut sums: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for call in calls {
        let event = events.remove(&call.id);
        let Some(event) = event else {
            assert!(!call.is_owed() || call.may_be_unseen(), "no event of {call:?}");
            continue;
        };
        assert!(call.is_owed(), "{call:?}: {event:?}");
        let data = &event["data"];
        let outcome = call.check(data).unwrap_or_else(|fault| panic!("{fault}: {call:?}: {data}"));
        *outcomes.entry(outcome).or_default() += 1;
        let [told, sent] = sums.entry(&call.caller).or_default();
        *told += data["tokens"]["output"].as_u64().unwrap_or(0);
        *sent += call.sent_tokens();
    }
    assert!(events.is_empty(), "events of calls that never were: {:?}", events.keys());
    for (caller, [told, sent]) in &sums {
        assert!(told <= sent, "{caller} is charged {told} tokens of {sent}");
    }
    let hang_ups = calls.iter().filter(|call| call.hang_up != HangUp::Never).count();
    let cuts = calls.iter().filter(|call| call.whole.load(SeqCst) && call.is_cut()).count();
    println!(
        "{} calls, {accepted} of which have an event; {hang_ups} hang-ups, {cuts} cuts; {outcomes:?}; {} messages",
        calls.len(),
        topic.messages()
    );
    let told: u64 = sums.values().map(|[told, _]| told).sum();
    let sent: u64 = sums.values().map(|[_, sent]| sent).sum();
    println!("{} callers are charged {told} output tokens of {sent} that were sent", sums.len());
    for outcome in ["complete", "client_disconnect", "upstream_eof", "upstream_error"] {
        assert!(outcomes.get(outcome).is_some_and(|&calls| calls > 0), "{outcome}: {outcomes:?}");
    }
}

impl Call {
    /// It has an event: the head of its request was sent to its end.
    fn is_owed(&self) -> bool {
        let head = self.request().windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        !matches!(self.hang_up, HangUp::InRequest(bytes) if bytes < head)
    }

    /// Its caller reset the connection at once after sending: the system throws away what the process
    /// has not read by then, which may be all of it.
    fn may_be_unseen(&self) -> bool {
        let at_once = matches!(self.hang_up, HangUp::InRequest(_) | HangUp::InAnswer(0));
        self.reset && at_once && !self.arrived.load(SeqCst)
    }

    /// What the prompt costs; nothing if the caller left before any of it was sent.
    fn prompt_tokens(&self, told: u64) -> u64 {
        let unsent = told == 0 && self.hang_up != HangUp::Never && !self.arrived.load(SeqCst);
        if unsent { 0 } else { PROMPT_TOKENS }
    }

    fn is_cut(&self) -> bool {
        matches!(self.end, End::Early | End::Broken)
    }

    /// What the service may charge for.
    fn sent_tokens(&self) -> u64 {
        let end_of_turn = self.ended.load(SeqCst) && !self.is_cut();
        self.sent.load(SeqCst) + u64::from(end_of_turn)
    }

    /// The outcome; or what is wrong with the event.
    fn check(&self, data: &Value) -> Result<String, &'static str> {
        let outcome = data["stream"]["outcome"].as_str().ok_or("no outcome")?;
        let drawn = match self.end {
            End::Plain | End::Reports => "complete",
            End::Early => "upstream_eof",
            End::Broken => "upstream_error",
        };
        let (input, output) = (data["tokens"]["input"].as_u64(), data["tokens"]["output"].as_u64());
        let as_drawn = outcome == drawn && self.ended.load(SeqCst);
        let left = outcome == "client_disconnect" && self.hang_up != HangUp::Never;
        let reported = data["accounting"]["output_source"] == "reported";
        let (got, sent) = (self.got.load(SeqCst), self.sent_tokens());
        match () {
            () if data["caller"]["id"] != self.caller => Err("another caller"),
            () if data["target"]["deployment"] != "d" => Err("another deployment"),
            () if self.hang_up == HangUp::Never && !self.whole.load(SeqCst) => Err("it did not end"),
            () if !as_drawn && !left => Err("another outcome"),
            () if reported && self.end != End::Reports => Err("nobody reported"),
            () if input.is_some_and(|input| input != self.prompt_tokens(input)) => Err("another input"),
            () if input.is_none() && (as_drawn || got > 0) => Err("no input"),
            () if as_drawn && output != Some(sent) => Err("another output"),
            () if output.unwrap_or(0) > sent => Err("more than was sent"),
            () if output.unwrap_or(0) < got => Err("less than was received"),
            () => Ok(outcome.to_owned()),
        }
    }
}

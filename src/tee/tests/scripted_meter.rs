//! A meter that tells, in the usage it settles, what it was shown and told, and that panics or holds on request.

use metering::meter::{FramesRead, SessionNames};
use metering::usage::{BillSeen, Deferral};

use super::*;

/// Shows what it saw as `ids.response_id` (the answer) and `ids.client_request_id` (the request),
/// and what it was told as `accounting.reasons`.
///
/// Its answer to [`CallMeter::prompt_need`] is `target.model_requested`: `keep` until the answer holds
/// `USAGE` or the call ends without, `count` at once, else no. With `keep` it wants an early count by the
/// model `guess`, and once the answer holds `NAMED` by the model `named`, as at its end. `PANIC` in any bytes panics; `HOLD`
/// holds the counting thread until [`set_gate`]. An answer that holds `UNREAD` is read at its end.
#[derive(Debug)]
pub(super) struct ScriptedMeter {
    usage: Usage,
    request: Vec<u8>,
    response: Vec<u8>,
    largest_look: usize,
    light: bool,
    ended: bool,
    /// The model of the early count, and the count.
    early: Option<(SmolStr, PromptCount)>,
    pub(super) adopted: bool,
}

/// Keeps what it saw until the meter is back.
#[derive(Debug)]
pub(super) struct ScriptedSkim {
    response: Vec<u8>,
}

impl CallSkim for ScriptedSkim {
    fn is_plain(&self) -> bool {
        true
    }
    fn push(&mut self, bytes: &[u8], budget_bytes: usize, mut decoded: impl FnMut(&[u8])) -> usize {
        assert!(!holds(bytes, "SKIM-BOOM"));
        let taken = bytes.len().min(budget_bytes);
        self.response.extend_from_slice(&bytes[..taken]);
        decoded(&bytes[..taken]);
        taken
    }
    fn work_bytes(&self) -> u64 {
        self.response.len() as u64
    }
    fn is_whole(&self) -> bool {
        holds(&self.response, "WHOLE")
    }
}

impl CallMeter for ScriptedMeter {
    type Skim = ScriptedSkim;

    fn begin(terms: MeterTerms<'_>) -> ScriptedMeter {
        assert_ne!(terms.draft.target.region.as_deref(), Some("PANIC in new"));
        ScriptedMeter {
            usage: Usage::clone(&terms.draft),
            request: Vec::new(),
            response: Vec::new(),
            largest_look: 0,
            light: false,
            ended: false,
            early: None,
            adopted: false,
        }
    }
    fn is_light(&self) -> bool {
        self.light
    }
    fn skim(&mut self) {
        self.tell("overloaded");
        self.light = true;
    }
    fn lend(&mut self) -> ScriptedSkim {
        ScriptedSkim { response: self.response.clone() }
    }
    fn take_back(&mut self, skim: ScriptedSkim, counted: bool) {
        if counted {
            assert!(self.response == skim.response, "the pool and the network thread saw the same");
        } else {
            self.response = skim.response;
            self.skim();
        }
    }
    fn is_request_unread(&self) -> bool {
        holds(&self.request, "CODED")
    }
    fn request_read(&mut self, facts: RequestFacts) {
        self.tell(&format!("read {:?}", facts.model));
    }
    fn asked(&mut self, facts: RequestFacts, bytes: u64) {
        self.tell(&format!("asked {:?} in {bytes}", facts.model));
    }
    fn named(&mut self, names: &SessionNames) {
        self.tell(&format!("named {:?}", names.id));
    }
    fn frames_read(&mut self, frames: FramesRead) {
        self.tell(&format!("read {frames:?}"));
    }
    fn left_out(&mut self) {
        self.tell("left out");
    }
    fn injection(&mut self, injection: Injection) {
        self.usage.request.injection = Some(injection);
    }
    fn request_bytes(&mut self, bytes: &[u8]) {
        assert!(!holds(bytes, "PANIC"));
        self.request.extend_from_slice(bytes);
    }
    fn request_end(&mut self) {
        self.tell("request_end");
    }
    fn response_head(&mut self, status: StatusCode, _: &HeaderMap) {
        self.usage.request.status = status.as_u16();
    }
    fn response_bytes(&mut self, bytes: &[u8], budget_bytes: usize) -> usize {
        assert!(!holds(bytes, "PANIC"));
        let taken = bytes.len().min(budget_bytes);
        if in_pool() {
            if holds(bytes, "HOLD") {
                hold();
            }
        } else if !self.light {
            self.largest_look = self.largest_look.max(taken);
        }
        self.response.extend_from_slice(&bytes[..taken]);
        taken
    }
    fn include_usage(&mut self, who: IncludeUsage) {
        self.usage.request.include_usage = who;
    }
    fn is_whole(&self) -> bool {
        holds(&self.response, "WHOLE")
    }
    fn caller_left(&mut self, left: Left) {
        self.tell(&format!("left {} {:?}", left.drained, left.stopped));
    }
    fn caller_idle(&mut self) {
        self.tell("caller_idle");
    }
    fn work_bytes(&self) -> u64 {
        self.response.len() as u64
    }
    fn held_bytes(&self) -> usize {
        0
    }
    fn uncounted_bytes(&self) -> usize {
        if holds(&self.response, "UNCOUNTED") && !self.light { self.response.len() } else { 0 }
    }
    fn first_token_seen(&self) -> bool {
        holds(&self.response, "token")
    }
    fn unread_bytes(&self) -> usize {
        if holds(&self.response, "UNREAD") && !self.light { self.response.len() } else { 0 }
    }
    fn end(&mut self, _: Ending) {
        if !std::mem::replace(&mut self.ended, true) && holds(&self.response, "UNREAD") {
            assert!(!holds(&self.response, "END-BOOM"));
            self.tell(if in_pool() { "pool" } else { "inline" });
        }
    }
    fn prompt_need(&self) -> PromptNeed {
        match self.usage.target.model_requested.as_deref() {
            _ if self.adopted => PromptNeed::No,
            Some("keep") if holds(&self.response, "USAGE") => PromptNeed::No,
            Some("keep") if self.ended && self.names_model() => PromptNeed::Count { model: "named".into() },
            Some("keep") if self.ended => PromptNeed::Count { model: "deployment".into() },
            Some("keep") => PromptNeed::Keep,
            Some("count") => PromptNeed::Count { model: "told".into() },
            _ => PromptNeed::No,
        }
    }
    fn adopt_early(&mut self) {
        let need = self.prompt_need();
        let wanted = |(by, _): &mut (SmolStr, PromptCount)| need == PromptNeed::Count { model: by.clone() };
        if let Some((_, count)) = self.early.take_if(wanted) {
            self.tell("adopted");
            self.prompt_counted(count);
            self.adopted = true;
        }
    }
    fn names_model(&self) -> bool {
        holds(&self.response, "NAMED")
    }
    fn early_need(&self, _: impl FnOnce() -> Option<SmolStr>) -> Option<SmolStr> {
        let keeps = self.usage.target.model_requested.as_deref() == Some("keep");
        let wanted = if self.names_model() { "named" } else { "guess" };
        let counted = self.early.as_ref().is_some_and(|(by, _)| by == wanted);
        (keeps && !counted).then(|| wanted.into())
    }
    fn prompt_counted_early(&mut self, count: PromptCount, by: SmolStr) {
        self.tell(&format!("early by {by}"));
        self.early = Some((by, count));
        self.adopt_early();
    }
    fn prompt_lost(&mut self, loss: PromptLoss) {
        self.tell(match loss {
            PromptLoss::NotKept => "prompt_not_kept",
            PromptLoss::Overload => "prompt_overloaded",
        });
    }
    fn is_refused(&self) -> bool {
        self.usage.request.status >= 400
    }
    fn memory_bytes(&self) -> usize {
        if self.light { 0 } else { self.response.len() * usize::from(holds(&self.response, "UNREAD")) }
    }
    fn progress(&self) -> (Progress, Checks) {
        assert!(!holds(&self.response, "PROGRESS-BOOM"));
        let early = self.early.as_ref().and_then(|(_, count)| count.tokens);
        let input = early.or(self.usage.tokens.input);
        let tokens = Tokens { input, output: Some(self.response.len() as u64), ..Tokens::default() };
        let accounting = Accounting {
            input_source: Source::Computed,
            input_quality: Quality::Exact,
            ..Accounting::default()
        };
        let input = Check { class: Some(RuleClass::Text), residual: None };
        (Progress { tokens, accounting, ..Progress::default() }, Checks { input, ..Checks::default() })
    }
    fn target(&self) -> Target {
        self.usage.target.clone()
    }
    fn deployment(&self) -> Option<SmolStr> {
        self.target().deployment
    }
    fn deferral(&self) -> Option<Deferral> {
        None
    }
    fn bill(&self) -> Option<BillSeen> {
        None
    }
    fn prompt_sample(&self) -> Option<PromptSample> {
        let target = Target { model: Some("sampled".into()), ..self.target() };
        Some(PromptSample { target, reported: REPORTED })
    }
    fn settle_and_check(mut self, ending: Ending) -> (Usage, Checks) {
        assert!(!holds(&self.response, "BOOM"));
        self.end(ending);
        self.tell(&format!("{ending:?}"));
        self.tell(&format!("largest look {}", self.largest_look));
        self.usage.ids.response_id = Some(String::from_utf8_lossy(&self.response).into());
        self.usage.ids.client_request_id = Some(String::from_utf8_lossy(&self.request).into());
        (self.usage, Checks::default())
    }
    fn prompt_counted(&mut self, count: PromptCount) -> Vec<BillPart> {
        self.usage.tokens.input = count.tokens;
        count.parts.iter().for_each(|part| self.tell(part.part));
        Vec::new()
    }

    /// Counts bytes; gives the model back as a part.
    fn count_prompt(_: Api, body: &[Bytes], model: &str) -> PromptCount {
        let body = body.concat();
        assert!(!holds(&body, "COUNT-BOOM"));
        if holds(&body, "HOLD") {
            hold();
        }
        let part = match model {
            "sampled" => "sampled",
            "told" => "told",
            "guess" => "guess",
            "named" => "named",
            _ => "deployment",
        };
        let parts = vec![BillPart { part, number: None, tokens: 0 }];
        let (tokens, class) = (Some(body.len() as u64), Some(RuleClass::Text));
        PromptCount { tokens, class, parts, ..PromptCount::default() }
    }
}

impl ScriptedMeter {
    fn tell(&mut self, what: &str) {
        self.usage.accounting.reasons.push(what.into());
    }
}

/// The number that the service reports for each prompt.
pub(super) const REPORTED: u64 = 1_000;

pub(super) fn in_pool() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("tw-count"))
}

pub(super) fn holds(bytes: &[u8], word: &str) -> bool {
    memchr::memmem::find(bytes, word.as_bytes()).is_some()
}

/// Tests that hold run one after another, each with the gate shut.
pub(super) static TURN: Mutex<()> = Mutex::new(());
pub(super) static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

pub(super) fn hold() {
    let open = GATE.0.lock().unwrap();
    drop(GATE.1.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
}

pub(super) fn set_gate(open: bool) {
    *GATE.0.lock().unwrap() = open;
    GATE.1.notify_all();
}

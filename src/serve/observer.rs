//! What is told of each call: its log line, its metrics, and the live page where there is one.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::{Bill, Ledger};
use crate::tee::{Compared, Observer, OverheadPhase};
use crate::telemetry::live::LiveFigures;
use crate::telemetry::log::CallLog;
use crate::telemetry::{self, Comparison, Metrics};
use metering::usage::{Deferral, Settled};

/// The observer of a sidecar's calls.
pub(super) fn observer(
    metrics: &Arc<Metrics>,
    ledger: &Ledger,
    log: CallLog,
    live: Option<&Arc<LiveFigures>>,
) -> Arc<dyn Observer> {
    let (metrics, ledger) = (Arc::clone(metrics), ledger.clone());
    match live {
        Some(live) => Arc::new(CallObserver { metrics, ledger, log, live: Arc::clone(live) }),
        None => Arc::new(CallObserver { metrics, ledger, log, live: NoPage }),
    }
}

/// The live figures, or none: a type of its own, so that without a page a call costs not one instruction more.
trait Live: Send + Sync {
    fn settled(&self, settled: &Settled);
}

/// There is no page.
struct NoPage;

impl Live for NoPage {
    fn settled(&self, _: &Settled) {}
}

impl Live for Arc<LiveFigures> {
    fn settled(&self, settled: &Settled) {
        LiveFigures::settled(self, settled);
    }
}

/// Makes the log line and the metrics of each call.
struct CallObserver<L> {
    metrics: Arc<Metrics>,
    ledger: Ledger,
    log: CallLog,
    live: L,
}

impl<L: Live> Observer for CallObserver<L> {
    fn settled(&self, settled: &Settled) {
        self.metrics.settled(&settled.usage);
        self.live.settled(settled);
        self.log.settled(settled);
    }

    fn summed(&self, settled: &Settled) {
        self.ledger.sum(settled);
        self.settled(settled);
    }

    fn bill(&self, bill: Bill) {
        self.ledger.settle_deferred(bill);
    }

    fn deferral(&self, settled: &Settled, deferral: &Deferral) {
        self.ledger.note_deferral(settled, deferral);
    }

    fn overhead(&self, phase: OverheadPhase, time: Duration) {
        self.metrics.held(phase.as_str(), time);
    }

    fn compared(&self, compared: &Compared) {
        let Compared { kind, residual, turned, wrong_calls } = compared;
        let comparison = Comparison {
            resource: &kind.resource,
            deployment: &kind.deployment,
            model: &kind.model,
            class: &kind.class(),
            residual_tokens: *residual,
            turned: *turned,
            wrong_calls: *wrong_calls,
        };
        self.metrics.compared(&comparison);
        telemetry::log::compared(&comparison);
    }
}

//! Everything that runs in a demo, and what can be done to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::broker::{MockBroker, TOPIC, TopicReader};
use super::callers::{self, SHARED_SECRET};
use super::checks::Witnesses;
use super::departments::Departments;
use super::figures::Figures;
use super::fixtures::Fixtures;
use super::last_run::LastRunFolder;
use super::ledger_tally::LedgerTally;
use super::options::Options;
use super::paced::Pace;
use super::service::{self, ReplayService};
use super::sidecar::{InProcessSidecar, Settings, SidecarProcess};
use super::traffic::Traffic;
use crate::report::{Input, Verdict, VerifyOptions, verify};

/// Service, callers, sidecars, broker, and finance, which reads the topic.
pub(super) struct Stage {
    program: PathBuf,
    pub(super) traffic: Arc<Traffic>,
    fixtures: Arc<Fixtures>,
    settings: [Settings; 2],
    ledgers: [LedgerTally; 2],
    broker_is_away: bool,
    // In the order in which they are to end.
    pub(super) lanes: JoinSet<()>,
    second: Option<SidecarProcess>,
    first: Option<InProcessSidecar>,
    pub(super) finance: TopicReader,
    broker: MockBroker,
    service: ReplayService,
}

impl Stage {
    /// Starts everything; calls begin at once.
    pub(super) async fn start(
        options: &Options,
        folder: &LastRunFolder,
        departments: &Departments,
    ) -> anyhow::Result<Stage> {
        let fixtures = Arc::new(Fixtures::load()?);
        let service =
            ReplayService::start(service::Options { pace: Pace::MODEL }).context("replaying service")?;
        let broker = MockBroker::start()?;
        let finance = TopicReader::start(&broker.bootstrap(), fixtures.clone())?;
        let settings = folder.ledgers().map(|ledger| Settings {
            upstream: format!("http://{}", service.addr()),
            ledger,
            brokers: broker.bootstrap(),
            topic: TOPIC,
            shared_secret: SHARED_SECRET,
            departments: departments.clone(),
            caller_map: folder.caller_map(),
            page: options.page,
        });
        let ledgers = [0, 1].map(|number| LedgerTally::new(&settings[number].ledger));
        let first = InProcessSidecar::start(&settings[0]).await?;
        let second = SidecarProcess::start(&options.program, &settings[1]).await?;
        let traffic = Arc::new(Traffic::default());
        traffic.doors[0].open(first.addr());
        traffic.doors[1].open(second.addr());
        Ok(Stage {
            program: options.program.clone(),
            lanes: callers::start(&traffic, &fixtures),
            traffic,
            fixtures,
            settings,
            ledgers,
            broker_is_away: false,
            second: Some(second),
            first: Some(first),
            finance,
            broker,
            service,
        })
    }

    /// The address of the first sidecar's live page, if it has one.
    pub(super) fn page_url(&self) -> Option<&str> {
        self.first.as_ref().and_then(InProcessSidecar::page_url)
    }

    pub(super) fn broker_is_away(&self) -> bool {
        self.broker_is_away
    }

    pub(super) fn break_broker(&mut self) -> anyhow::Result<()> {
        self.broker_is_away = true;
        self.broker.go_away()
    }

    pub(super) fn mend_broker(&mut self) -> anyhow::Result<()> {
        self.broker_is_away = false;
        self.broker.come_back()
    }

    /// The second sidecar runs.
    pub(super) fn second_runs(&self) -> bool {
        self.second.is_some()
    }

    /// `kill -9` of the second sidecar, whose door is shut; returns its process.
    pub(super) fn kill_second(&mut self) -> anyhow::Result<u32> {
        self.traffic.doors[1].about_to_be_killed();
        let Some(second) = self.second.take() else { bail!("there is no second sidecar") };
        let process = second.id();
        second.kill()?;
        Ok(process)
    }

    /// Starts the second sidecar on the ledger of the one that was killed.
    pub(super) async fn restart_second(&mut self) -> anyhow::Result<()> {
        let second = SidecarProcess::start(&self.program, &self.settings[1]).await?;
        self.traffic.doors[1].open(second.addr());
        self.second = Some(second);
        Ok(())
    }

    /// Calls that are open in the second ledger, if it shows every call that began; else what it shows.
    pub(super) fn open_in_second(&mut self) -> anyhow::Result<Result<u64, String>> {
        let begun = self.traffic.doors[1].begun();
        let (stored, open) = self.ledgers[1].stored_and_open()?;
        Ok(match stored + open == begun {
            true => Ok(open),
            false => Err(format!(
                "{begun} calls began through sidecar 2; its ledger shows {stored} settled and {open} open"
            )),
        })
    }

    /// A caller hangs up; returns the id of the call.
    pub(super) fn hang_up(&self) -> Option<String> {
        self.traffic.streams.hang_up_one()
    }

    /// A forger calls once. False: no sidecar takes calls.
    pub(super) fn forge(&mut self, call_id: String) -> bool {
        callers::forge(&mut self.lanes, call_id, &self.traffic, &self.fixtures)
    }

    /// Both sidecars stop as `serve` does on SIGTERM: the last events are delivered.
    pub(super) async fn stop_sidecars(&mut self) -> anyhow::Result<()> {
        let (first, second) = (self.first.take(), self.second.take());
        let stopped = match first {
            Some(first) => first.stop().await.context("stopping sidecar 1"),
            None => Ok(()),
        };
        if let Some(second) = second {
            second.stop().await.context("stopping sidecar 2")?;
        }
        stopped
    }

    pub(super) fn witnesses(&self) -> Witnesses {
        Witnesses {
            harmed: self.traffic.harmed.load(Ordering::SeqCst),
            begun: self.service.begun(),
            identified: self.service.identified(),
        }
    }

    /// The verdict of `tokenweir verify` on both ledgers, whose sidecars have stopped.
    pub(super) fn verdict(&self) -> anyhow::Result<Verdict> {
        let ledgers = self.settings.iter().map(|settings| Input::Ledger(settings.ledger.clone()));
        Ok(verify(&VerifyOptions::new(ledgers.collect()))?)
    }

    pub(super) fn figures(&mut self) -> anyhow::Result<Figures> {
        let mut stored = 0;
        for ledger in &mut self.ledgers {
            stored += ledger.stored()?;
        }
        let tally = self.finance.tally();
        Ok(Figures {
            sent: self.traffic.sent(),
            stored,
            delivered: tally.delivered(),
            counted: tally.counted(),
            open: self.traffic.open.load(Ordering::SeqCst),
        })
    }
}

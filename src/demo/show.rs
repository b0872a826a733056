//! The course of the demo: who is taken away when, and what must be true at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::broker::{MockBroker, TOPIC, TopicReader};
use super::callers::{self, FORGED_ID, SHARED_SECRET};
use super::fixtures::Fixtures;
use super::ledger_tally::LedgerTally;
use super::options::Options;
use super::paced::Pace;
use super::service::{self, ReplayService};
use super::sidecar::{InProcessSidecar, Settings, SidecarProcess};
use super::table::{self, Figures, Screen};
use super::tally::TopicTally;
use super::traffic::Traffic;

/// As a model of the gpt-4o class writes.
const PACE: Pace = Pace { interval: Duration::from_millis(20), jitter_percent: 60 };

/// No call begins in the last moment before the kill: the ledger promises one event for each call
/// that began more than one commit (10 ms) before.
const QUIET_BEFORE_KILL: Duration = Duration::from_millis(500);

/// The ledger shows every call that began before the kill within this.
const LEDGER_CATCHES_UP_MAX: Duration = Duration::from_secs(20);

/// How long the killed sidecar stays dead.
const DEAD: Duration = Duration::from_millis(1_500);

/// The longest stream takes some 7 s; a loaded machine may need more.
const STREAMS_END_MAX: Duration = Duration::from_secs(60);

/// From the end of the last stream until every event has been read from the topic.
const DELIVERY_MAX: Duration = Duration::from_secs(45);

/// While something is waited for, it is looked at so often.
const POLL: Duration = Duration::from_millis(100);

/// One performance, with everything that runs in it.
pub(super) struct Show {
    program: PathBuf,
    seconds: Duration,
    screen: Screen,
    start: Instant,
    now: String,
    next_picture: Instant,
    traffic: Arc<Traffic>,
    settings: [Settings; 2],
    ledgers: [LedgerTally; 2],
    // In the order in which they are to end.
    lanes: JoinSet<()>,
    second: Option<SidecarProcess>,
    first: InProcessSidecar,
    finance: TopicReader,
    broker: MockBroker,
    service: ReplayService,
}

impl Show {
    /// Starts everything; calls begin at once.
    pub(super) async fn start(options: &Options, dir: &Path) -> anyhow::Result<Show> {
        let fixtures = Arc::new(Fixtures::load()?);
        let service = ReplayService::start(service::Options { pace: PACE }).context("replaying service")?;
        let broker = MockBroker::start()?;
        let finance = TopicReader::start(&broker.bootstrap(), fixtures.clone())?;
        let settings = ["ledger-1", "ledger-2"].map(|ledger| Settings {
            upstream: format!("http://{}", service.addr()),
            ledger: dir.join(ledger),
            brokers: broker.bootstrap(),
            topic: TOPIC,
            shared_secret: SHARED_SECRET,
        });
        let ledgers = [0, 1].map(|number| LedgerTally::new(&settings[number].ledger));
        let first = InProcessSidecar::start(&settings[0]).await?;
        let second = SidecarProcess::start(&options.program, &settings[1]).await?;
        let traffic = Arc::new(Traffic::default());
        traffic.doors[0].open(first.addr());
        traffic.doors[1].open(second.addr());
        Ok(Show {
            program: options.program.clone(),
            seconds: options.duration,
            screen: Screen::new(options.terminal),
            start: Instant::now(),
            now: String::new(),
            next_picture: Instant::now(),
            lanes: callers::start(&traffic, &fixtures),
            traffic,
            settings,
            ledgers,
            second: Some(second),
            first,
            finance,
            broker,
            service,
        })
    }

    /// Plays to the end and says whether all is accounted for.
    pub(super) async fn play(mut self) -> anyhow::Result<bool> {
        self.tell("eleven callers, two sidecars, all is well")?;
        self.until(self.seconds * 15 / 100).await?;
        self.broker.go_away()?;
        self.tell("the broker is away: events wait in the ledgers, callers notice nothing")?;
        self.until(self.seconds * 35 / 100).await?;
        self.kill_second().await?;
        self.until(self.seconds * 65 / 100).await?;
        self.broker.come_back()?;
        self.tell("the broker is back: what waited goes out")?;
        self.until(self.seconds).await?;
        self.wind_down().await?;
        let holds = self.verdict()?;
        let stopped = self.first.stop().await;
        if holds {
            stopped.context("stopping sidecar 1")?;
        }
        Ok(holds)
    }

    /// Kills the second sidecar under its open streams and starts it again on the same ledger.
    async fn kill_second(&mut self) -> anyhow::Result<()> {
        let door = &self.traffic.doors[1];
        door.shut();
        self.tell("no new calls to sidecar 2: it is about to be killed")?;
        self.pass(QUIET_BEFORE_KILL).await?;
        let open = self.every_call_is_in_the_second_ledger().await?;
        self.traffic.doors[1].about_to_be_killed();
        let Some(second) = self.second.take() else { bail!("there is no second sidecar") };
        let process = second.id();
        second.kill()?;
        self.tell(format!("kill -9 of sidecar 2 (process {process}) under {open} open calls"))?;
        self.pass(DEAD).await?;
        let second = SidecarProcess::start(&self.program, &self.settings[1]).await?;
        self.traffic.doors[1].open(second.addr());
        self.second = Some(second);
        self.tell("sidecar 2 is back on its ledger: open calls of the dead one are events now")?;
        Ok(())
    }

    /// Waits until each call that began is open or settled in the second ledger; returns how many
    /// are open. A bill of one may still come.
    async fn every_call_is_in_the_second_ledger(&mut self) -> anyhow::Result<u64> {
        let deadline = Instant::now() + LEDGER_CATCHES_UP_MAX;
        loop {
            let begun = self.traffic.doors[1].begun();
            let (stored, open) = self.ledgers[1].stored_and_open()?;
            if stored + open == begun {
                return Ok(open);
            }
            ensure!(
                Instant::now() < deadline,
                "{begun} calls began through sidecar 2; its ledger shows {stored} settled and {open} open"
            );
            self.pass(POLL).await?;
        }
    }

    /// Lets the last streams end and the last events arrive.
    async fn wind_down(&mut self) -> anyhow::Result<()> {
        self.traffic.over.store(true, Ordering::SeqCst);
        self.tell("no new calls: the last streams end")?;
        let deadline = Instant::now() + STREAMS_END_MAX;
        while !self.lanes.is_empty() {
            while self.lanes.try_join_next().is_some() {}
            ensure!(Instant::now() < deadline, "{} callers did not end", self.lanes.len());
            self.pass(POLL).await?;
        }
        self.tell("the last events arrive")?;
        let deadline = Instant::now() + DELIVERY_MAX;
        while !self.figures()?.agree() && Instant::now() < deadline {
            self.pass(POLL).await?;
        }
        Ok(())
    }

    /// The table, what was found, and the line of numbers, which are to be one.
    fn verdict(&mut self) -> anyhow::Result<bool> {
        let figures = self.figures()?;
        let tally = self.finance.tally();
        let mut lines = table::table(&tally).trim_end().to_owned();
        let mut holds = figures.agree();
        let checks = self.checks(&figures, &tally);
        for (holds_too, what) in checks.into_iter().chain([self.verified()?]) {
            lines.push_str(&format!("\n{} {what}", if holds_too { "  ok" } else { "FAIL" }));
            holds &= holds_too;
        }
        lines.push_str(&format!("\n{}", figures.proof()));
        drop(tally);
        self.screen.say(&lines)?;
        Ok(holds)
    }

    /// The other things that must hold, in words that are true either way.
    fn checks(&self, figures: &Figures, tally: &TopicTally) -> [(bool, String); 5] {
        let TopicTally { computed, wrong, crashed, repeats, unreadable, .. } = tally;
        let harmed = self.traffic.harmed.load(Ordering::SeqCst);
        let (begun, identified) = (self.service.begun(), self.service.identified());
        let forged = tally.rows().find(|(caller, _)| *caller == FORGED_ID).map_or(0, |(_, row)| row.calls);
        [
            (harmed == 0, format!("{harmed} answers were harmed on their way; kill -9 cut {crashed}")),
            (
                begun == figures.sent && identified == 0,
                format!(
                    "{begun} calls and bills are the service's, {identified} of them with the caller's name"
                ),
            ),
            (forged == 0, format!("{forged} calls are charged to \"{FORGED_ID}\", whom a forger named")),
            (
                *wrong == 0,
                format!("{computed} numbers were computed and called exact; {wrong} of them are wrong"),
            ),
            (
                *unreadable == 0,
                format!("{unreadable} records are no events; {repeats} came twice and count once"),
            ),
        ]
    }

    /// Whether every row of both ledgers is accounted for.
    fn verified(&self) -> anyhow::Result<(bool, String)> {
        let (mut complete, mut events, mut faults) = (true, 0, 0);
        for ledger in &self.ledgers {
            let verdict = ledger.verify()?;
            complete &= verdict.complete;
            events += verdict.events;
            faults += verdict.findings.len();
        }
        let boots = "of both ledgers, one of which was killed";
        Ok((complete, format!("verify finds {faults} faults in the {events} events {boots}")))
    }

    /// Says what is going on from now on, at once: on a slow machine the next thing comes soon.
    fn tell(&mut self, now: impl Into<String>) -> anyhow::Result<()> {
        self.now = now.into();
        self.draw()
    }

    async fn until(&mut self, elapsed: Duration) -> anyhow::Result<()> {
        self.pass(elapsed.saturating_sub(self.start.elapsed())).await
    }

    /// Lets time pass, and draws when a picture is due.
    async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if Instant::now() >= self.next_picture {
                self.draw()?;
            }
            tokio::time::sleep_until(end.min(self.next_picture)).await;
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let figures = self.figures()?;
        let tally = self.finance.tally();
        self.screen.draw(self.start.elapsed(), &self.now, &figures, &tally)?;
        self.next_picture = Instant::now() + self.screen.interval();
        Ok(())
    }

    fn figures(&mut self) -> anyhow::Result<Figures> {
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

//! The course of the demo: who is taken away when, by the script or by a key, and the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::acts::{ActName, Acts};
use super::departments::Departments;
use super::ending::Ending;
use super::figures::Figures;
use super::introduction::introduction;
use super::key_record::KeyRecord;
use super::keyboard::{KEYS_LINE, Key, Keyboard};
use super::last_run::LastRunFolder;
use super::options::Options;
use super::picture::Picture;
use super::screen::Screen;
use super::stage::Stage;
use super::table::{legend, short_legend, table};

/// The acts, and how much of the time is over when each begins, in per cent.
const SCRIPT: [(ActName, u32); 5] = [
    (ActName::Calm, 0),
    (ActName::Outage, 15),
    (ActName::Kill, 35),
    (ActName::Recovery, 35),
    (ActName::Return, 65),
];

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

/// While something is waited for, it is looked at so often; keys too.
const POLL: Duration = Duration::from_millis(100);

/// Events that waited when the broker came back.
#[derive(Clone, Copy, Debug)]
struct Backlog {
    waiting: u64,
    /// They are out when so many have been delivered.
    stored: u64,
}

/// One performance, with everything that runs in it.
pub(super) struct Show<'a> {
    options: &'a Options,
    folder: &'a LastRunFolder,
    departments: Departments,
    screen: Screen,
    acts: Acts,
    start: Instant,
    now: String,
    next_picture: Instant,
    keyboard: Option<Keyboard>,
    record: KeyRecord,
    /// A key that kills or restarts, which takes its time.
    wish: Option<Key>,
    is_cut_short: bool,
    /// What waited when the broker came back, until it is out.
    backlog: Option<Backlog>,
    stage: Stage,
}

impl Show<'_> {
    /// Says what will happen, and starts everything; calls begin at once.
    pub(super) async fn start<'a>(
        options: &'a Options,
        folder: &'a LastRunFolder,
    ) -> anyhow::Result<Show<'a>> {
        let departments = Departments::read(&folder.caller_map())?;
        let mut screen = Screen::new(options);
        screen.say(&introduction(&departments, screen.styles()))?;
        let stage = Stage::start(options, folder, &departments).await?;
        if let Some(url) = stage.page_url() {
            screen.say(&format!("What sidecar 1 sees, until the demo ends: {url}\n"))?;
        }
        Ok(Show {
            stage,
            options,
            folder,
            departments,
            keyboard: if screen.is_terminal() { Keyboard::open() } else { None },
            screen,
            acts: Acts::default(),
            start: Instant::now(),
            now: String::new(),
            next_picture: Instant::now(),
            record: KeyRecord::default(),
            wish: None,
            is_cut_short: false,
            backlog: None,
        })
    }

    /// Plays to the end and says whether all is accounted for.
    pub(super) async fn play(mut self) -> anyhow::Result<bool> {
        for (act, percent) in SCRIPT {
            self.until(self.options.duration * percent / 100).await?;
            if self.is_cut_short {
                break;
            }
            self.perform(act).await?;
        }
        self.until(self.options.duration).await?;
        self.wind_down().await?;
        let stopped = self.stage.stop_sidecars().await;
        let figures = self.stage.figures()?;
        // From here on the terminal is as it was.
        drop(self.keyboard.take());
        self.acts.leave_out_what_is_ahead();
        let acts = if self.screen.is_terminal() { self.acts.lines(self.screen.styles()) } else { Vec::new() };
        let ending = Ending {
            options: self.options,
            folder: self.folder,
            departments: &self.departments,
            screen: &self.screen,
            record: &self.record,
            acts: &acts,
        };
        let (holds, text) = ending.tell(&self.stage, &figures)?;
        self.screen.say(&text)?;
        if holds {
            stopped?;
        }
        Ok(holds)
    }

    /// What the script says, unless a key came before it.
    async fn perform(&mut self, act: ActName) -> anyhow::Result<()> {
        match act {
            ActName::Calm => {
                self.begin(act, "all is well: eleven callers call through two sidecars")?;
                self.end(act, "all is well: eleven callers call through two sidecars")
            }
            ActName::Outage => {
                self.begin(act, "the broker is away: events wait in the ledgers, no caller notices")?;
                if self.stage.broker_is_away() { Ok(()) } else { self.stage.break_broker() }
            }
            ActName::Kill if self.stage.second_runs() => {
                self.begin(act, "no new calls to sidecar 2: it is about to be killed")?;
                let killed = self.kill_second().await?;
                self.end(act, &killed)
            }
            ActName::Kill => {
                self.begin(act, "")?;
                self.end(act, "sidecar 2 is dead already, by your key")
            }
            ActName::Recovery => {
                self.begin(act, "sidecar 2 is dead: its callers go to sidecar 1")?;
                self.pass(DEAD).await?;
                self.restart_second().await
            }
            ActName::Return => self.mend_broker(),
            ActName::End => Ok(()),
        }
    }

    /// The broker comes back, if it is away.
    fn mend_broker(&mut self) -> anyhow::Result<()> {
        let figures = self.stage.figures()?;
        let waiting = figures.waiting();
        if self.stage.broker_is_away() {
            self.backlog = Some(Backlog { waiting, stored: figures.stored });
            self.stage.mend_broker()?;
        }
        if self.acts.is_running(ActName::Outage) {
            let seconds = self.start.elapsed().saturating_sub(self.acts.began(ActName::Outage)).as_secs_f64();
            let text =
                format!("the broker was away for {seconds:.1} s: {waiting} events waited in the ledgers");
            self.acts.end(ActName::Outage, &text);
            self.begin(ActName::Return, "the broker is back: what waited goes out")?;
        }
        Ok(())
    }

    /// Kills the second sidecar under its open streams, and says so.
    async fn kill_second(&mut self) -> anyhow::Result<String> {
        self.stage.traffic.doors[1].shut();
        self.pass(QUIET_BEFORE_KILL).await?;
        let open = self.every_call_is_in_the_second_ledger().await?;
        let process = self.stage.kill_second()?;
        Ok(format!("kill -9 of sidecar 2 (process {process}) under {open} open calls"))
    }

    /// Starts the second sidecar again, if it is dead.
    async fn restart_second(&mut self) -> anyhow::Result<()> {
        if !self.stage.second_runs() {
            self.stage.restart_second().await?;
        }
        self.end(ActName::Recovery, "sidecar 2 is back on its ledger: what the dead one left is events")
    }

    /// Waits until each call that began is open or settled in the second ledger; returns how many
    /// are open. A bill of one may still come.
    async fn every_call_is_in_the_second_ledger(&mut self) -> anyhow::Result<u64> {
        let deadline = Instant::now() + LEDGER_CATCHES_UP_MAX;
        loop {
            match self.stage.open_in_second()? {
                Ok(open) => return Ok(open),
                Err(found) => ensure!(Instant::now() < deadline, "{found}"),
            }
            self.pass(POLL).await?;
        }
    }

    /// Lets the last streams end and the last events arrive. Whatever a key has broken is mended.
    async fn wind_down(&mut self) -> anyhow::Result<()> {
        self.stage.traffic.over.store(true, Ordering::SeqCst);
        self.begin(ActName::End, "no new calls: the last streams end")?;
        self.mend_broker()?;
        self.restart_second().await?;
        let deadline = Instant::now() + STREAMS_END_MAX;
        while !self.stage.lanes.is_empty() {
            while self.stage.lanes.try_join_next().is_some() {}
            ensure!(Instant::now() < deadline, "{} callers did not end", self.stage.lanes.len());
            self.pass(POLL).await?;
        }
        self.now("the last events arrive")?;
        let deadline = Instant::now() + DELIVERY_MAX;
        while !self.stage.figures()?.agree() && Instant::now() < deadline {
            self.pass(POLL).await?;
        }
        let last = self.stage.figures()?;
        self.look_at_backlog(&last)?;
        if last.agree() {
            self.end(ActName::End, "the last streams have ended, and the last events are in")?;
        }
        Ok(())
    }

    /// An act goes on from now.
    fn begin(&mut self, act: ActName, text: &str) -> anyhow::Result<()> {
        self.acts.begin(act, self.start.elapsed(), text);
        self.now(text)
    }

    /// An act is over, if it has begun.
    fn end(&mut self, act: ActName, text: &str) -> anyhow::Result<()> {
        if !self.acts.is_running(act) {
            return Ok(());
        }
        let is_news = self.now != text;
        self.acts.end(act, text);
        if is_news { self.now(text) } else { Ok(()) }
    }

    /// Says what is going on from now on, at once: on a slow machine the next thing comes soon.
    fn now(&mut self, text: &str) -> anyhow::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.now = text.to_owned();
        self.screen.log(self.start.elapsed(), text)?;
        self.draw()
    }

    async fn until(&mut self, elapsed: Duration) -> anyhow::Result<()> {
        while !self.is_cut_short && self.start.elapsed() < elapsed {
            self.pass(POLL.min(elapsed.saturating_sub(self.start.elapsed()))).await?;
            if let Some(key) = self.wish.take() {
                self.grant(key).await?;
            }
        }
        Ok(())
    }

    /// Lets time pass, looks at the keys, and draws when a picture is due.
    async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        loop {
            self.look_at_keys()?;
            if Instant::now() >= self.next_picture {
                self.tick()?;
            }
            if self.backlog.is_some() {
                let figures = self.stage.figures()?;
                self.look_at_backlog(&figures)?;
            }
            if Instant::now() >= end {
                return Ok(());
            }
            tokio::time::sleep_until(end.min(self.next_picture).min(Instant::now() + POLL)).await;
        }
    }

    fn look_at_keys(&mut self) -> anyhow::Result<()> {
        while let Some(key) = self.keyboard.as_ref().and_then(Keyboard::next) {
            match key {
                Key::HangUp => self.press_hang_up()?,
                Key::Quit => self.is_cut_short = true,
                // Whatever is broken now would not be mended any more.
                _ if self.stage.traffic.is_over() => self.now("the end has begun: only h acts now")?,
                Key::Broker => self.press_broker()?,
                Key::Forge => self.press_forge()?,
                Key::Kill | Key::Restart => self.wish = Some(key),
            }
        }
        Ok(())
    }

    fn press_broker(&mut self) -> anyhow::Result<()> {
        if self.stage.broker_is_away() {
            self.record.mended += 1;
            self.mend_broker()?;
            return self.now("your key mended the broker: what waited goes out");
        }
        self.record.broken += 1;
        self.stage.break_broker()?;
        self.now("your key broke the broker: events wait in the ledgers")
    }

    fn press_hang_up(&mut self) -> anyhow::Result<()> {
        let call = if self.record.may_hang_up() { self.stage.hang_up() } else { None };
        let Some(call_id) = call else { return self.now("no stream to hang up just now") };
        let text = format!("your key hung up the call {call_id}");
        self.record.hung_up(call_id);
        self.now(&text)
    }

    fn press_forge(&mut self) -> anyhow::Result<()> {
        let Some(call_id) = self.record.next_forged() else {
            return self.now("that is enough of forged calls");
        };
        if !self.stage.forge(call_id.clone()) {
            return self.now("no sidecar takes calls just now");
        }
        let text = format!("your key forged the call {call_id}");
        self.record.forged(call_id);
        self.now(&text)
    }

    async fn grant(&mut self, key: Key) -> anyhow::Result<()> {
        match (key, self.stage.second_runs()) {
            (Key::Kill, true) => {
                self.now("your key kills sidecar 2: no new calls to it")?;
                let killed = self.kill_second().await?;
                self.record.killed += 1;
                self.now(&format!("your key: {killed}"))
            }
            (Key::Restart, false) => {
                self.record.restarted += 1;
                self.restart_second().await?;
                self.now("your key started sidecar 2 again, on the ledger of the dead one")
            }
            (_, true) => self.now("sidecar 2 runs already"),
            (_, false) => self.now("sidecar 2 is dead already; r restarts it"),
        }
    }

    /// A picture, or a line of figures.
    fn tick(&mut self) -> anyhow::Result<()> {
        if !self.screen.is_terminal() {
            let figures = self.stage.figures()?;
            self.screen.log(self.start.elapsed(), &figures.line())?;
        }
        self.draw()
    }

    /// The broker's return is over when what waited then is out.
    fn look_at_backlog(&mut self, figures: &Figures) -> anyhow::Result<()> {
        let Some(Backlog { waiting, stored }) = self.backlog else { return Ok(()) };
        if figures.delivered < stored {
            return Ok(());
        }
        self.backlog = None;
        self.end(ActName::Return, &format!("the broker is back: the {waiting} events that waited are out"))
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        self.next_picture = Instant::now() + self.screen.interval();
        if !self.screen.is_terminal() {
            return Ok(());
        }
        let figures = self.stage.figures()?;
        let seconds = self.start.elapsed().as_secs_f64();
        let (table, deeds) = {
            let tally = self.stage.finance.tally();
            (table(&tally, &self.departments, self.screen.columns()), self.record.lines(&tally))
        };
        self.screen.draw(&Picture {
            acts: &self.acts,
            deeds: &deeds,
            table: &table,
            legend: &legend(),
            short_legend: &short_legend(),
            counts: &format!("{seconds:.1} s  {}", figures.line()),
            now: &self.now,
            keys: self.keyboard.as_ref().map(|_| KEYS_LINE),
        })?;
        Ok(())
    }
}

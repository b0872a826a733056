//! The table of a scenario: medians over the rounds. What compares two peers is made within a round,
//! where both met the same mood of the machine, and only then is the median taken of it.

use comfy_table::{CellAlignment, Table, presets};

use super::load::Measured;
use super::peer::Kind;
use super::scenario::Scenario;

/// What the peers of a scenario measured: of each, all rounds.
pub(crate) type Rounds = Vec<(Kind, Vec<Measured>)>;

/// One number of a measurement; not a number where there is none.
type Figure = fn(&Scenario, &Measured) -> f64;

/// What stands at the head of a column, and what stands in it.
type Column = (&'static str, fn(&Row<'_>) -> String);

/// Columns that name REFERENCE are there if one of the peers is one. UNIT is a chunk or a call.
const COLUMNS: &[Column] = &[
    ("CPU us/UNIT", |row| shown(row.median(cpu), 1)),
    ("x REFERENCE (min to max)", |row| row.ratio(cpu, cpu).map_or_else(nothing, spread)),
    ("network threads us/UNIT", |row| shown(row.median(network), 1)),
    ("x REFERENCE", |row| {
        row.ratio(network, row.data_path()).map_or_else(nothing, |each| shown(median(each), 2))
    }),
    ("UNITs/s", |row| shown(row.median(rate), 0)),
    ("x REFERENCE", |row| row.ratio(rate, rate).map_or_else(nothing, |each| shown(median(each), 2))),
    ("p50 us", |row| shown(row.median(p50), 0)),
    ("p99 us", |row| shown(row.median(p99), 0)),
    ("added p50", |row| shown(row.added(p50), 0)),
    ("added p99", |row| shown(row.added(p99), 0)),
    ("idle MB", |row| shown(row.median(idle), 1)),
    ("peak MB", |row| shown(row.median(peak), 1)),
    ("kB/connection", |row| shown(row.median(connection), 1)),
    ("chunks/read", |row| shown(row.median(per_read), 2)),
    ("others' cores", |row| shown(row.median(|_, measured| measured.others), 2)),
];

/// All rounds of a peer, and of those that it is compared with.
struct Row<'a> {
    scenario: &'a Scenario,
    kind: Kind,
    of: &'a [Measured],
    /// The peer whose numbers ours are held against.
    reference: &'a [Measured],
    reference_is_ours: bool,
    direct: &'a [Measured],
}

impl Row<'_> {
    fn median(&self, figure: Figure) -> f64 {
        median(self.of.iter().map(|measured| figure(self.scenario, measured)).collect())
    }

    /// How often the reference's number goes into ours, a round each; none where one of them has none.
    fn ratio(&self, figure: Figure, of_reference: Figure) -> Option<Vec<f64>> {
        let pairs = self.of.iter().zip(self.reference);
        let each = pairs.map(|(a, b)| figure(self.scenario, a) / of_reference(self.scenario, b));
        Some(each.collect()).filter(|each: &Vec<f64>| each.iter().all(|ratio| ratio.is_finite()))
    }

    /// The time in which the reference does what our network threads do: all of another proxy's.
    fn data_path(&self) -> Figure {
        if self.reference_is_ours { network } else { cpu }
    }

    /// What a proxy adds to the way without one.
    fn added(&self, figure: Figure) -> f64 {
        let pairs = self.of.iter().zip(self.direct).filter(|_| self.kind != Kind::Direct);
        median(pairs.map(|(a, b)| figure(self.scenario, a) - figure(self.scenario, b)).collect())
    }
}

/// Prints the table; it is Markdown as it stands.
pub(crate) fn print(scenario: &Scenario, tls: bool, rounds: &Rounds) {
    let unit = if scenario.streams() { "chunk" } else { "call" };
    let of = |wanted: Kind| rounds.iter().find(|(kind, _)| *kind == wanted).map(|(_, of)| of.as_slice());
    let direct = of(Kind::Direct).unwrap_or_default();
    let before = rounds.iter().find(|(kind, _)| matches!(kind, Kind::Before(_)));
    let peer = |wanted: Kind| rounds.iter().find(|(kind, _)| *kind == wanted);
    // Capturing is held against not capturing.
    let ours = before.or_else(|| peer(Kind::Capturing).and_then(|_| peer(Kind::Tokenweir)));
    let reference = ours.or_else(|| peer(Kind::Nginx));
    let columns = || COLUMNS.iter().filter(|(title, _)| reference.is_some() || !title.contains("REFERENCE"));
    let name = reference.map_or("", |(kind, _)| kind.name());
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let titles = columns().map(|(title, _)| title.replace("UNIT", unit).replace("REFERENCE", name));
    table.set_header([scenario.name.to_owned()].into_iter().chain(titles));
    for (kind, of) in rounds {
        let reference = reference.map_or(&[][..], |(_, of)| of);
        let row = Row { scenario, kind: *kind, of, reference, reference_is_ours: ours.is_some(), direct };
        let cells = columns().map(|(_, cell)| cell(&row));
        table.add_row([kind.name().to_owned()].into_iter().chain(cells));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let tls = if tls { ", TLS to the service" } else { "" };
    let times = rounds.first().map_or(0, |(_, of)| of.len());
    println!("\n{}: {}{tls}; medians of {times} round(s)\n\n{table}\n", scenario.name, scenario.what);
}

fn nothing() -> String {
    "-".to_owned()
}

fn shown(figure: f64, decimals: usize) -> String {
    if figure.is_nan() { nothing() } else { format!("{figure:.decimals$}") }
}

/// Nothing there is not a number.
fn there(amount: u64) -> f64 {
    if amount == 0 { f64::NAN } else { amount as f64 }
}

/// Chunks of streams, or whole calls.
fn units(scenario: &Scenario, measured: &Measured) -> f64 {
    (if scenario.streams() { measured.chunks } else { measured.calls }) as f64
}

fn cpu(scenario: &Scenario, measured: &Measured) -> f64 {
    there(measured.cpu.all_ns) / 1e3 / units(scenario, measured)
}

fn network(scenario: &Scenario, measured: &Measured) -> f64 {
    there(measured.cpu.network_ns) / 1e3 / units(scenario, measured)
}

fn rate(scenario: &Scenario, measured: &Measured) -> f64 {
    units(scenario, measured) / measured.seconds
}

fn quantile(measured: &Measured, share: f64) -> f64 {
    let last = measured.latencies.len().saturating_sub(1) as f64;
    measured.latencies.get((last * share) as usize).map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
}

fn p50(_: &Scenario, measured: &Measured) -> f64 {
    quantile(measured, 0.5)
}

fn p99(_: &Scenario, measured: &Measured) -> f64 {
    quantile(measured, 0.99)
}

fn idle(_: &Scenario, measured: &Measured) -> f64 {
    there(measured.idle_bytes) / 1e6
}

fn peak(_: &Scenario, measured: &Measured) -> f64 {
    there(measured.peak_bytes) / 1e6
}

fn connection(scenario: &Scenario, measured: &Measured) -> f64 {
    (there(measured.peak_bytes) - there(measured.idle_bytes)) / 1e3 / scenario.connections as f64
}

fn per_read(_: &Scenario, measured: &Measured) -> f64 {
    there(measured.chunks) / measured.reads as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}

fn spread(figures: Vec<f64>) -> String {
    let (least, most) =
        figures.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), &x| (least.min(x), most.max(x)));
    format!("{:.2} ({least:.2} to {most:.2})", median(figures))
}

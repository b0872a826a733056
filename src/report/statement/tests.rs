use jiff::civil::date;
use proptest::prelude::*;
use roxmltree::{Document, Node};

use super::{Statement, StatementTable};
use crate::report::calendar::Calendar;
use crate::report::group_by::GroupBy;
use crate::report::key_value::{KeyValue, MissingKey};
use crate::report::pricing::{Amount, Cost};
use crate::report::rows::{ReportLine, ReportView};
use crate::report::sums::ReportSums;

fn sums(calls: u64, tokens: u64, cost: Option<u128>) -> ReportSums {
    let mut sums = ReportSums::of([("calls", calls), ("input", tokens), ("exact_tokens", tokens)]);
    let amount = |cost| Cost { first: Some(Amount::of(cost)), second: Some(Amount::of(cost * 2)) };
    cost.into_iter().for_each(|cost| sums.charge(amount(cost)));
    sums
}

fn line(key: KeyValue, sums: ReportSums) -> ReportLine {
    ReportLine { keys: vec![key], sums }
}

fn statement(names: &[String]) -> Statement {
    let mut lines: Vec<ReportLine> =
        names.iter().map(|name| line(KeyValue::Name(name.as_str().into()), sums(1, 2, Some(3)))).collect();
    lines.push(line(KeyValue::Missing(MissingKey::Model), sums(1, 2, None)));
    let view = ReportView { by: vec![GroupBy::Model], lines };
    let days =
        [22, 25].map(|day| line(KeyValue::Day(date(2026, 11, day)), sums(1, 5, Some(10_u128.pow(18)))));
    Statement {
        title: names.concat(),
        calendar: Calendar::default(),
        currency: Some("EUR".to_owned()),
        currency_2: Some("USD".to_owned()),
        total: sums(7, 1_234_567, Some(1_234_567_890_000_000_000_000)),
        days: days.to_vec(),
        tables: vec![StatementTable::of("By model".to_owned(), &view)],
        facts: vec![("prices".to_owned(), names.concat())],
        notes: names.to_vec(),
        proof: Some((true, names.concat())),
        ..Statement::default()
    }
}

/// The page as XML, which it also is but for what HTML leaves open.
fn closed(html: &str) -> String {
    let html = html.replacen("<!DOCTYPE html>", "", 1);
    let mut out = String::new();
    for piece in html.split_inclusive('>') {
        match piece.rfind("<meta ") {
            Some(_) => out.push_str(&format!("{}/>", piece.trim_end_matches('>'))),
            None => out.push_str(piece),
        }
    }
    out
}

fn texts(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|node| if node.is_text() { node.text() } else { None }).collect()
}

#[test]
fn a_page_has_its_sums_tables_bars_and_notes() {
    let html = statement(&["gpt-4o".to_owned()]).html();
    let closed = closed(&html);
    let page = Document::parse(&closed).unwrap();
    let said = texts(page.root_element());
    for wanted in [
        "1\u{202f}234.57",
        "1\u{202f}234\u{202f}567",
        "gpt-4o",
        "no model",
        "2026-11-22 to 2026-11-25 (UTC)",
        "Proof: ",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let tags = |name: &str| page.descendants().filter(|node| node.has_tag_name(name)).count();
    let tables = tags("table");
    assert_eq!((tables, tags("caption"), tags("h1"), tags("main")), (3, tables, 1, 1));
    assert!(
        page.descendants().filter(|node| node.has_tag_name("th")).all(|node| node.has_attribute("scope"))
    );
    let days = page.descendants().find(|node| node.attribute("class") == Some("days")).unwrap();
    assert_eq!(days.children().filter(Node::is_element).count(), 4, "days without usage have a place");
    assert_eq!(days.attribute("role"), Some("img"));
}

#[test]
fn a_page_may_fetch_and_run_nothing() {
    let html = statement(&["m".to_owned()]).html();
    let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    let closed = closed(&html);
    let page = Document::parse(&closed).unwrap();
    let metas: Vec<_> = page.descendants().filter(|node| node.has_tag_name("meta")).collect();
    let found =
        metas.iter().find(|node| node.attribute("http-equiv") == Some("Content-Security-Policy")).unwrap();
    assert_eq!(found.attribute("content"), Some(policy.as_str()));
    for node in page.descendants() {
        assert!(!["script", "link", "img", "iframe", "a"].contains(&node.tag_name().name()), "{node:?}");
        for attribute in ["style", "src", "href", "onclick"] {
            assert!(!node.has_attribute(attribute), "{node:?}");
        }
    }
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn many_lines_are_told_as_the_largest_and_the_others() {
    let lines = (0..120_u64).map(|n| line(KeyValue::Name(n.to_string().into()), sums(1, n, None))).collect();
    let table = StatementTable::of("By caller".to_owned(), &ReportView { by: vec![GroupBy::Caller], lines });
    assert_eq!((table.lines.len(), table.lines[0].keys[0].value().unwrap().as_ref()), (50, "119"));
    let (others, rest) = table.others.unwrap();
    assert_eq!((others, rest.get("calls"), rest.get("input")), (70, Some(70), Some((0..70).sum())));
}

proptest! {
    /// The page has the same elements whatever names are, and shows nothing that is hidden.
    #[test]
    fn names_are_text_and_nothing_else(
        names in prop::collection::vec(prop_oneof![
            any::<String>(),
            "[<>&\"'/=a-z\u{202e}\u{200b}\0\n-]{1,20}",
            Just("</style><script>alert(1)</script>".to_owned()),
            Just("\" onmouseover=\"alert(1)".to_owned()),
            Just("<!--".to_owned()),
        ], 1..5),
    ) {
        let plain: Vec<String> = (0..names.len()).map(|n| format!("n{n}")).collect();
        let (html, plain) = (closed(&statement(&names).html()), closed(&statement(&plain).html()));
        let (page, plain) = (Document::parse(&html).unwrap(), Document::parse(&plain).unwrap());
        let shape = |page: &Document<'_>| -> Vec<(String, Vec<String>)> {
            let attributes = |node: Node<'_, '_>| node.attributes().map(|attribute| attribute.name().to_owned()).collect();
            page.descendants().filter(Node::is_element).map(|node| (node.tag_name().name().to_owned(), attributes(node))).collect()
        };
        prop_assert_eq!(shape(&page), shape(&plain));
        let said = texts(page.root_element());
        for hidden in ['\u{202e}', '\u{200b}', '\0', '\u{1b}'] {
            prop_assert!(!said.contains(hidden));
        }
        for name in &names {
            prop_assert!(said.contains(&*metering::names::shown(name)), "{:?}", name);
        }
    }
}

//! The table as `docs/traffic.md` shows it.

use super::columns::{BilledBy, Deployment, Streaming, Treatment, UsageAt};
use super::table::{DONE, OBJECTS, OPERATIONS, Operation, PROFILES, Profile, RuleSet, SESSION, UNLISTED};

/// Two tables: the operations, and the APIs that they belong to.
pub fn markdown() -> String {
    let mut out = String::from("| call | `target.api` | deployment | tokens |\n|---|---|---|---|\n");
    for row in OPERATIONS.iter().chain([&UNLISTED, &SESSION]) {
        out.push_str(&line(&operation(row)));
    }
    let objects = OBJECTS.iter().map(|(name, api)| format!("below `{name}` it is `{}`", api.as_str()));
    out.push_str(&format!("\nObjects in the path: {}.\n", objects.collect::<Vec<_>>().join(", ")));
    out.push_str("\n| `target.api` | streams | usage stands | counted where usage is missing | read on |\n|---|---|---|---|---|\n");
    for row in &PROFILES {
        out.push_str(&line(&profile(row)));
    }
    out
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn operation(row: &Operation) -> [String; 4] {
    let call = match row.path {
        "*" if row.api == SESSION.api => "any path that becomes a WebSocket".to_owned(),
        "*" => format!("{} to any other path", row.method),
        path => format!("{} `../{path}`", row.method),
    };
    let by_object = if row.by_object { ", or that of the objects in the path" } else { "" };
    let deployment = match row.deployment {
        Deployment::PathOrModel => "in the path, else `model`",
        Deployment::Model => "`model`",
        Deployment::Query => "in the query",
        Deployment::Nowhere => "none",
    };
    let tokens = match row.treatment {
        Treatment::Metered => "reported, else counted",
        Treatment::ReportedOnly => "reported",
        Treatment::Unmetered if row.api == SESSION.api => "none: they stand in its frames",
        Treatment::Unmetered => "none: they are another call's",
        Treatment::Free => "0: it is not billed",
        Treatment::Silent => "no event",
    };
    [call, format!("`{}`{by_object}", row.api.as_str()), deployment.to_owned(), tokens.to_owned()]
}

fn profile(row: &Profile) -> [String; 5] {
    let streaming = match row.streaming {
        Streaming::Events if row.ends == [DONE] => format!("events, to `{DONE}`"),
        Streaming::Events => {
            let ends: Vec<_> = row.ends.iter().map(|end| format!("`{end}`")).collect();
            format!("events, to {}", ends.join(", "))
        }
        Streaming::Frames => "frames".to_owned(),
        Streaming::Never => "never".to_owned(),
        Streaming::Unknown => "perhaps".to_owned(),
    };
    let usage = match row.usage {
        UsageAt::End => "in the document, in the last event of a stream",
        UsageAt::EndIfAsked => "in the document, in a stream if it is asked for",
        UsageAt::Document => "in the document",
        UsageAt::Nowhere => "nowhere",
        UsageAt::Unknown => "perhaps in the response",
    };
    let instead = match row.billed_by {
        BilledBy::Tokens => "",
        BilledBy::TokensOrImages => "; some models bill images",
        BilledBy::TokensOrSeconds => "; some models bill seconds",
    };
    let counted = match row.rules {
        Some(RuleSet::Chat | RuleSet::Completions | RuleSet::Responses) => "prompt and response",
        Some(RuleSet::Embeddings) => "prompt",
        None => "nothing",
    };
    let read_on = if row.read_on { "yes" } else { "no" };
    [
        format!("`{}`", row.api.as_str()),
        streaming,
        format!("{usage}{instead}"),
        counted.to_owned(),
        read_on.to_owned(),
    ]
}

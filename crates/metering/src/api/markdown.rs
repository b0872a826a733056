//! The table as `docs/traffic.md` shows it.

use super::columns::{BilledBy, Deployment, Streaming, Treatment, UsageAt};
use super::table::{
    DONE, OBJECTS, OPERATIONS, OTHER_SESSION, Operation, PROFILES, Profile, RuleSet, SESSIONS, UNLISTED,
};

/// Two tables: the operations, and the APIs that they belong to.
pub fn markdown() -> String {
    let mut out = String::from("| call | `target.api` | deployment | tokens |\n|---|---|---|---|\n");
    for rows in OPERATIONS.chunk_by(|a, b| [a, b].iter().all(|row| row.treatment == Treatment::Silent)) {
        let others = rows[1..].iter().map(|row| format!(", `../{}`", row.path));
        out.push_str(&line(&operation(
            &others.fold(call(&rows[0]), |calls, other| calls + &other),
            &rows[0],
        )));
    }
    for row in [&UNLISTED].into_iter().chain(SESSIONS).chain([&OTHER_SESSION]) {
        out.push_str(&line(&operation(&call(row), row)));
    }
    let objects = OBJECTS.iter().map(|(name, api)| format!("below `{name}` it is `{}`", api.as_str()));
    out.push_str(&format!("\nObjects in the path: {}.\n", objects.collect::<Vec<_>>().join(", ")));
    out.push_str("\n| `target.api` | streams | usage stands | counted where usage is missing | read on |\n|---|---|---|---|---|\n");
    for row in &PROFILES {
        out.push_str(&line(&profile(row)));
    }
    out.push_str("\n| `target.api` | what is exact | what only the service can know |\n|---|---|---|\n");
    for row in &PROFILES {
        out.push_str(&line(&[
            format!("`{}`", row.api.as_str()),
            row.exact.to_owned(),
            row.unseen.to_owned(),
        ]));
    }
    out
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn call(row: &Operation) -> String {
    match row.path {
        "*" if row.api == OTHER_SESSION.api => "any other WebSocket".to_owned(),
        path if SESSIONS.iter().any(|session| session.path == path && session.method == row.method) => {
            format!("WebSocket `../{path}`")
        }
        "*" => format!("{} to any other path", row.method),
        path => format!("{} `../{path}`", row.method),
    }
}

fn operation(call: &str, row: &Operation) -> [String; 4] {
    let by_object = if row.by_object { ", or that of the objects in the path" } else { "" };
    let deployment = match row.deployment {
        Deployment::PathOrModel => "in the path, else `model`",
        Deployment::Model => "`model`",
        Deployment::ModelOrLast => "`model`, else the last segment",
        Deployment::Query => "in the query",
        Deployment::Message => "`model` of each message",
        Deployment::Nowhere => "none",
    };
    let tokens = match row.treatment {
        Treatment::Metered => "reported, else counted",
        Treatment::ReportedOnly => "reported",
        Treatment::Unmetered if row.api == OTHER_SESSION.api => "none: they stand in its frames",
        Treatment::PerResponse => "0: each of its responses has an event of its own",
        Treatment::Unmetered => "none: they are another call's",
        Treatment::Elsewhere => "none: what is used goes round every gateway",
        Treatment::Free => "0: it is not billed",
        Treatment::Silent => "no event",
        Treatment::Poll => "no event, but the bill of the work that it shows",
        Treatment::Cancel => "the bill of the work that it breaks off; 0 where that is known",
        Treatment::PollOutput => "no event, but the bill of the batch whose output it is",
    };
    let api = match row.treatment {
        Treatment::Silent => String::new(),
        _ => format!("`{}`{by_object}", row.api.as_str()),
    };
    [call.to_owned(), api, deployment.to_owned(), tokens.to_owned()]
}

fn profile(row: &Profile) -> [String; 5] {
    let streaming = match row.streaming {
        Streaming::Events if row.ends == [DONE] => format!("events, to `{DONE}`"),
        Streaming::Events => {
            let ends: Vec<_> = row.ends.iter().map(|end| format!("`{end}`")).collect();
            let each = if row.ends_each { " of each" } else { "" };
            format!("events, to {}{each}", ends.join(", "))
        }
        Streaming::Frames => "frames".to_owned(),
        Streaming::Never => "never".to_owned(),
        Streaming::Unknown => "perhaps".to_owned(),
    };
    let usage = match row.usage {
        UsageAt::End if row.streaming == Streaming::Frames => "in the event that ends each response",
        UsageAt::End => "in the document, in the last event of a stream",
        UsageAt::EndIfAsked => "in the document, in a stream if it is asked for",
        UsageAt::Throughout => "in the document, in a stream from its beginning on",
        UsageAt::Document => "in the document",
        UsageAt::Later => "in the object of the work, once it is over",
        UsageAt::Nowhere => "nowhere",
        UsageAt::Unknown => "perhaps in the response",
    };
    let instead = match row.billed_by {
        BilledBy::Tokens => "",
        BilledBy::TokensOrImages => "; some models bill images",
        BilledBy::TokensOrSeconds => "; some models bill seconds or characters",
        BilledBy::TokensAndSeconds => "; some models bill the seconds that they transcribe",
        BilledBy::Seconds => "; seconds are billed",
        BilledBy::Pages => "; pages are billed",
        BilledBy::SearchUnits => "; search units are billed",
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

//! The cost of the response of an older completion: its text, and nothing around it.
//!
//! Of 79 recordings 77 are the plain sum of `N(text)` over the choices. The rules beyond that, each with
//! what it rests on:
//!
//! | response | tokens |
//! |---|---|
//! | text | `N(text)` for each choice (77 of 79) |
//! | with `logprobs` | their entries, where they cover the text: they are the tokens themselves |
//! | cut by `length` | the limit of the request, 16 if it has none: 3 of 3, of which `N(text)` hits 2 |
//! | with `echo` | without the prompt that it repeats: the reference bills what is generated |
//! | `best_of` above `n` | candidates that are not sent are billed: a lower bound |
//!
//! The token that ends the text is not billed (api.openai.com; Azure has not been recorded).

use super::computed::Computed;
use super::exchange::{MeteredExchange, limited};
use crate::chunk::Stop;
use crate::meter::read::{ChoicesReader, SeenChoice};
use crate::prompt::Bill;
use crate::usage::{Reason, RuleClass};

/// `max_tokens` of a request that has none.
const LIMIT_DEFAULT: u64 = 16;

/// The tokens of the response of an older completion. `prompt_tokens`: what it repeats if asked to.
pub(super) fn count(exchange: MeteredExchange<'_>, response: &ChoicesReader) -> Computed {
    let (mut computed, mut bill) = (Computed::default(), Bill::default());
    let facts = exchange.facts;
    let (mut known, several) = (true, response.choices.len() > 1);
    for (place, choice) in response.choices.iter().enumerate() {
        let text = text(&exchange, choice);
        known &= text.is_some();
        bill.add_at("text", several.then_some(place), i64::try_from(text.unwrap_or(0)).unwrap_or(i64::MAX));
        choice_doubts(&exchange, choice, &mut computed);
    }
    if facts.echo {
        match exchange.prompt_tokens {
            Some(prompt) => bill.add("prompt, repeated", repeated(&exchange, prompt)),
            None => known = false,
        }
    }
    if known {
        computed.charge(bill, RuleClass::Text);
    } else if !facts.echo {
        computed.because(Reason::UnknownModel);
    }
    let unseen = facts.best_of.is_some_and(|candidates| candidates > facts.n.unwrap_or(1).max(1));
    for (doubt, reason) in [
        (unseen, Reason::BestOf),
        (facts.echo, Reason::Echo),
        (facts.suffix, Reason::Suffix),
        (!exchange.model.plain, Reason::UnknownModel),
        (response.overflow, Reason::TooManyChoices),
        (!facts.complete, Reason::RequestUnread),
    ] {
        if doubt {
            computed.because(reason);
        }
    }
    computed.lower_bound = unseen;
    computed
}

/// Tokens of a choice; `None` if its text is lost.
fn text(exchange: &MeteredExchange<'_>, choice: &SeenChoice) -> Option<u64> {
    let counted = exchange.text(choice)?;
    let limit = exchange.facts.limit.unwrap_or(LIMIT_DEFAULT);
    let cut = choice.finish.as_deref() == Some("length") && !exchange.facts.echo;
    Some(if cut { limited(counted, Some(limit)) } else { counted })
}

/// The tokens to take off: each choice repeats one of the prompts, and each prompt is repeated equally often.
fn repeated(exchange: &MeteredExchange<'_>, prompt_tokens: u64) -> i64 {
    let times = prompt_tokens.saturating_mul(exchange.facts.n.unwrap_or(1).max(1));
    -i64::try_from(times).unwrap_or(i64::MAX)
}

fn choice_doubts(exchange: &MeteredExchange<'_>, choice: &SeenChoice, computed: &mut Computed) {
    let finish = choice.finish.as_deref();
    for (doubt, reason) in [
        (finish == Some("content_filter"), Reason::ContentFilter),
        (exchange.facts.stop != Stop::Never && finish == Some("stop"), Reason::StopSequence),
        (exchange.rules.end_of_turn && finish != Some("length"), Reason::EndOfTurn),
        (
            choice.odd || finish == Some("other") || !(choice.calls.is_empty() && choice.customs.is_empty()),
            Reason::UnknownFields,
        ),
        (finish.is_none() && exchange.whole, Reason::Unfinished),
    ] {
        if doubt {
            computed.because(reason);
        }
    }
}

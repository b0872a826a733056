//! What will happen, and who the callers are: said before it begins.

use super::callers::HABITS;
use super::departments::Departments;
use super::style::{Emphasis, Styles};

const BEFORE: &str = "\
A service that answers as Azure OpenAI does, two tokenweir sidecars before it, a
Kafka broker behind them, and eleven callers that make accounting hard:
";

const AFTER: &str = "\
The broker will go away, and a sidecar die by kill -9 in mid-stream. Both come
back. Then there is a bill, and a proof that each call is in it exactly once.
";

/// The lines of it.
pub(super) fn introduction(departments: &Departments, styles: Styles) -> String {
    let callers = HABITS.iter().map(|habit| {
        let (name, department) = (format!("{:<13}", habit.id), departments.of(habit.id));
        format!("  {}  {department:<11}  {}\n", styles.paint(Emphasis::Heading, &name), habit.about)
    });
    format!("{BEFORE}\n{}\n{AFTER}", callers.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_every_caller_within_eighty_columns() {
        let text = introduction(&Departments::default(), Styles { colours: false });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for habit in HABITS {
            assert!(!habit.about.is_empty(), "{}", habit.id);
            assert!(text.contains(&format!("  {} ", habit.id)) && text.contains(habit.about), "{}", habit.id);
        }
    }
}

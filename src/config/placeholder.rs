//! Hosts of examples that were copied and never filled in: `RESOURCE.openai.azure.com` is nobody's.

/// Letters of a part that stands for a name; shorter ones, such as `EU`, may be names.
const LETTERS_MIN: usize = 3;

/// The part of a host that is a placeholder: it stands in capitals where all else is in small letters, or joins
/// capitals by `_`, which no host of the service has. DNS knows no case, so whoever has a host of that very name can
/// write it in small letters.
pub(super) fn placeholder(host: &str) -> Option<&str> {
    let parts = || host.split('.');
    let is_small = |part: &str| part.bytes().all(|byte| !byte.is_ascii_uppercase());
    let small = parts().any(|part| is_small(part) && part.bytes().any(|byte| byte.is_ascii_lowercase()));
    let is_named = |part: &&str| {
        let letters = part.bytes().filter(u8::is_ascii_uppercase).count();
        let capitals = part
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
        capitals && letters >= LETTERS_MIN
    };
    let mut capitals = parts().filter(is_named);
    let found = capitals.next()?;
    let rest_is_small =
        capitals.next().is_none() && small && parts().all(|part| part == found || is_small(part));
    (rest_is_small || found.contains('_')).then_some(found)
}

/// What is wrong with a host that has one.
pub(super) fn problem(placeholder: &str) -> String {
    format!(
        "{placeholder} stands for a name of yours; write that in its place (a host that is really called so, in small letters)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_capitals_is_nobodys() {
        for (host, found) in [
            ("RESOURCE.openai.azure.com", Some("RESOURCE")),
            ("NAMESPACE.servicebus.windows.net", Some("NAMESPACE")),
            ("NAME.openai.azure.com", Some("NAME")),
            ("MY-RESOURCE.openai.azure.com", Some("MY-RESOURCE")),
            ("gateway.YOUR_DOMAIN", Some("YOUR_DOMAIN")),
            ("TOKENWEIR_HOST", Some("TOKENWEIR_HOST")),
            ("contoso.openai.azure.com", None),
            ("API.OpenAI.com", None),
            ("NS.ServiceBus.Windows.Net", None),
            ("KAFKA", None),
            ("KAFKA01.CORP.LOCAL", None),
            ("EU.openai.azure.com", None),
            ("10.0.0.1", None),
            ("FE80::1", None),
            ("", None),
        ] {
            assert_eq!(placeholder(host), found, "{host}");
        }
    }
}

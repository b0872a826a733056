//! Which of Azure's resources a host of ours is.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::line_key::lower;

/// Hosts, and the accounts that they are. A host that is not named is the account of its first label, as Azure makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceNames(BTreeMap<SmolStr, SmolStr>);

impl ResourceNames {
    /// Adds `HOST=ACCOUNT`.
    ///
    /// # Errors
    /// If it is not that, or the host is there already.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let named = text.split_once('=').filter(|(host, account)| !host.is_empty() && !account.is_empty());
        let (host, account) = named.ok_or_else(|| {
            format!("`{text}` is no resource; allowed: HOST=ACCOUNT, such as ai.contoso.com=contoso-weu")
        })?;
        match self.0.insert(lower(host), lower(account)) {
            Some(other) => Err(format!("{host} is given twice, as {other} and as {account}")),
            None => Ok(()),
        }
    }

    /// The account, in lower case.
    pub(super) fn of(&self, host: &str) -> SmolStr {
        let host = lower(host);
        let named = self.0.get(&host).cloned();
        let is_address = host.starts_with('[')
            || host.split(':').next().is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok());
        named.unwrap_or_else(|| match host.split_once('.') {
            Some((label, _)) if !is_address => label.into(),
            _ => host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_account_of_its_first_label_or_as_it_is_named() {
        let mut names = ResourceNames::default();
        names.add("AI.contoso.com=Contoso-WEU").unwrap();
        for (host, account) in [
            ("contoso-weu.openai.azure.com", "contoso-weu"),
            ("Contoso-EUS.services.ai.azure.com:443", "contoso-eus"),
            ("ai.contoso.com", "contoso-weu"),
            ("127.0.0.1:8443", "127.0.0.1:8443"),
            ("contoso", "contoso"),
        ] {
            assert_eq!(names.of(host), account);
        }
        for wrong in ["x", "=y", "x=", "ai.contoso.com=other"] {
            assert!(names.add(wrong).is_err(), "{wrong}");
        }
    }
}

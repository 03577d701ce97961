//! The configured redaction rules.

use std::ops::Deref;
use std::sync::LazyLock;

use logferry_core::model::redact::{BadPattern, DEFAULT_NAMES, DEFAULT_PATTERNS, DEFAULT_QUERY, Redactor};

/// The default rules, compiled when they are first needed: that takes longer than the rest of a function's
/// start, and most reads need none.
static STANDARD: LazyLock<Redactor> = LazyLock::new(|| {
    Redactor::standard().unwrap_or_else(|bad| unreachable!("the default rules are valid: {bad}"))
});

/// Redaction rules of a function.
#[derive(Debug, Clone)]
pub enum RedactionRules {
    /// The default rules.
    Standard,
    /// Rules of this deployment. They are compiled at the start, so that a wrong one is found there.
    Own(Redactor),
}

impl RedactionRules {
    /// As [`Redactor::configured`].
    ///
    /// # Errors
    /// If a pattern is not a regular expression.
    pub(crate) fn configured(
        names: Option<&str>,
        query: Option<&str>,
        patterns: Option<&str>,
    ) -> Result<Self, BadPattern> {
        let is_default = |given: Option<&str>, default| given.is_none_or(|given| given == default);
        if is_default(names, DEFAULT_NAMES)
            && is_default(query, DEFAULT_QUERY)
            && is_default(patterns, DEFAULT_PATTERNS)
        {
            return Ok(Self::Standard);
        }
        Redactor::configured(names, query, patterns).map(Self::Own)
    }
}

/// No rules.
impl Default for RedactionRules {
    fn default() -> Self {
        Self::Own(Redactor::default())
    }
}

impl From<Redactor> for RedactionRules {
    fn from(redactor: Redactor) -> Self {
        Self::Own(redactor)
    }
}

impl Deref for RedactionRules {
    type Target = Redactor;

    fn deref(&self) -> &Redactor {
        match self {
            Self::Standard => &STANDARD,
            Self::Own(redactor) => redactor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_rules_are_compiled_later_and_others_are_checked_at_once() {
        let standard = RedactionRules::configured(None, Some(DEFAULT_QUERY), Some(DEFAULT_PATTERNS)).unwrap();
        assert!(matches!(standard, RedactionRules::Standard));
        // The fingerprint of a file's packing is made of this text.
        assert_eq!(format!("{:?}", *standard), format!("{:?}", Redactor::standard().unwrap()));
        let own = RedactionRules::configured(Some("x-own"), None, None).unwrap();
        assert!(matches!(own, RedactionRules::Own(_)));
        assert!(RedactionRules::configured(None, None, Some("(")).is_err());
    }
}

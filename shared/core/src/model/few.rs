//! Arrays of JSON with a limit: the elements of a small body may need much memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

/// What the error of an array with more elements says.
pub const EXCESS: &str = "an array has more elements than";

/// An array that may be missing or null, of at most `MAX` elements.
#[derive(Debug)]
pub struct Few<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> IntoIterator for Few<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for FewVisitor<T, MAX> {
    type Value = Few<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = array.next_element()? {
            if all.len() >= MAX {
                return Err(A::Error::custom(format_args!("{EXCESS} {MAX}")));
            }
            all.push(element);
        }
        Ok(Few(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_may_be_missing_null_or_short() {
        let read = |text: &str| serde_json::from_str::<Few<u8, 2>>(text).map(|few| few.0).ok();
        assert_eq!(read("null"), Some(vec![]));
        assert_eq!(read("[1,2]"), Some(vec![1, 2]));
        assert_eq!(read("[1,2,3]"), None);
        assert_eq!(read("{}"), None);
    }
}

//! Which app the events of a log group belong to.

use logferry_core::model::app::AppId;

/// The log groups of a deployment.
#[derive(Debug, Clone, Default)]
pub struct LogGroups {
    /// Names, or beginnings of names, and their apps.
    assigned: Vec<(Name, AppId)>,
    /// Groups that grow whenever something is ingested.
    own: Vec<String>,
    /// Before the groups of records that `flush` writes.
    record_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Whole(String),
    Beginning(String),
}

/// What the events of a group become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned<'a> {
    To(&'a AppId),
    /// Storing them would write to the same group again.
    Loop,
    Nothing,
}

/// What is wrong with a list of assignments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} must be LOG_GROUP=APP, where a log group may end in *")]
pub struct BadAssignment(String);

impl LogGroups {
    /// Reads `LOG_GROUP=APP,…`.
    ///
    /// # Errors
    /// [`BadAssignment`] with the first part that is none.
    pub fn new(assigned: &str, own: &str, record_prefix: &str) -> Result<Self, BadAssignment> {
        let parts = |list: &str| -> Vec<String> {
            list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let assignment = |part: String| {
            let read = part.rsplit_once('=').and_then(|(name, app_id)| {
                let name = match name.strip_suffix('*') {
                    Some(beginning) => Name::Beginning(beginning.to_owned()),
                    None => Name::Whole(name.to_owned()),
                };
                Some((name, app_id.parse().ok()?)).filter(|(name, _)| *name != Name::Whole(String::new()))
            });
            read.ok_or(BadAssignment(part))
        };
        Ok(Self {
            assigned: parts(assigned).into_iter().map(assignment).collect::<Result<_, _>>()?,
            own: parts(own),
            record_prefix: record_prefix.to_owned(),
        })
    }

    /// The app of a group: by its whole name, else by the longest beginning.
    #[must_use]
    pub fn of(&self, group: &str) -> Assigned<'_> {
        let of_records = group.strip_prefix(&self.record_prefix).is_some_and(|rest| rest.starts_with('/'));
        if self.own.iter().any(|own| own == group) || of_records && !self.record_prefix.is_empty() {
            return Assigned::Loop;
        }
        let fits = |name: &Name| match name {
            Name::Whole(whole) => (whole == group).then_some(usize::MAX),
            Name::Beginning(beginning) => group.starts_with(beginning.as_str()).then_some(beginning.len()),
        };
        let fitting = self.assigned.iter().filter_map(|(name, app_id)| Some((fits(name)?, app_id)));
        fitting
            .max_by_key(|(length, _)| *length)
            .map_or(Assigned::Nothing, |(_, app_id)| Assigned::To(app_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_belongs_to_the_app_of_its_name_or_of_the_longest_beginning() {
        let list = "/aws/lambda/*=lambdas, /aws/lambda/shop-*=shop,/aws/lambda/shop-db=db,a=b";
        let groups = LogGroups::new(list, "/aws/lambda/own-ingest,/aws/lambda/own-flush", "/own").unwrap();
        let app = |group: &str| match groups.of(group) {
            Assigned::To(app_id) => app_id.as_str(),
            Assigned::Loop => "loop",
            Assigned::Nothing => "nothing",
        };
        for (group, expected) in [
            ("/aws/lambda/x", "lambdas"),
            ("/aws/lambda/shop-api", "shop"),
            ("/aws/lambda/shop-db", "db"),
            ("/aws/lambda/shop-db2", "shop"),
            ("/aws/lambda/own-ingest", "loop"),
            ("/aws/lambda/own-api", "lambdas"),
            ("/own/shop", "loop"),
            ("/owner", "nothing"),
            ("", "nothing"),
        ] {
            assert_eq!(app(group), expected, "{group}");
        }
        let all = LogGroups::new("*=all", "", "").unwrap();
        assert!(matches!(all.of("/x"), Assigned::To(_)));
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for bad in ["x", "x=", "=a", "x=No App", "a=b,x"] {
            assert!(LogGroups::new(bad, "", "").is_err(), "{bad}");
        }
    }
}

//! Metrics of a run, in the configured granularity. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use logferry_health_checks::redacted::public_part;
use logferry_health_checks::rows::CheckRow;
use logferry_service::metrics::{
    CHECKS_DOWN, CHECKS_SKIPPED, CHECKS_UP, Emission, MAX_VALUES, PROBE_LATENCY,
};

/// Number of checks of an app with their own metrics: the first of its list. A tenant that changes its URLs
/// in every run makes twice as many metrics per run, so the deployment must enable this.
const MAX_URLS_OF_APP: usize = 20;

/// Granularity of the metrics. CloudWatch bills each metric of each set of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Every app, and its first `MAX_URLS_OF_APP` URLs.
    Url,
    /// Every app.
    #[default]
    App,
    Off,
}

impl FromStr for Detail {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Detail, &'static str> {
        match text {
            "url" => Ok(Detail::Url),
            "app" => Ok(Detail::App),
            "off" => Ok(Detail::Off),
            _ => Err("must be url, app or off"),
        }
    }
}

/// A row of a run, with the position of its check in the app's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub row: CheckRow,
    pub position: usize,
}

pub(crate) fn is_up(row: &CheckRow) -> bool {
    row.ok && !row.skipped
}

pub(crate) fn is_down(row: &CheckRow) -> bool {
    !row.ok && !row.skipped
}

/// Returns the metrics of a run's rows. Per URL there are only two, because each costs: the number of
/// successes is the number of latencies minus the number of failures.
#[must_use]
pub fn emissions(namespace: &str, detail: Detail, measured: &[Measured]) -> Vec<Emission> {
    if detail == Detail::Off {
        return Vec::new();
    }
    let mut per_app = BTreeMap::<&str, Vec<&Measured>>::new();
    for measured in measured {
        per_app.entry(measured.row.key.app_id.as_str()).or_default().push(measured);
    }
    let mut emissions = Vec::new();
    for (app_id, measured) in per_app {
        let of_app = || Emission::new(namespace).dimension("App", app_id);
        let count = |wanted: fn(&CheckRow) -> bool| {
            measured.iter().map(|measured| u64::from(wanted(&measured.row))).sum()
        };
        let probed = || measured.iter().filter(|measured| !measured.row.skipped);
        let latencies: Vec<u32> = probed().map(|measured| measured.row.latency_ms).collect();
        let mut chunks = latencies.chunks(MAX_VALUES);
        emissions.push(
            of_app()
                .value(CHECKS_UP, count(is_up))
                .value(CHECKS_DOWN, count(is_down))
                .value(CHECKS_SKIPPED, count(|row| row.skipped))
                .values(PROBE_LATENCY, chunks.next().unwrap_or_default()),
        );
        emissions.extend(chunks.map(|chunk| of_app().values(PROBE_LATENCY, chunk)));
        if detail == Detail::Url {
            let with_own = probed().filter(|measured| measured.position < MAX_URLS_OF_APP);
            emissions.extend(with_own.map(|Measured { row, .. }| {
                of_app()
                    .dimension("Url", public_part(&row.key.target))
                    .value(PROBE_LATENCY, row.latency_ms.into())
                    .value(CHECKS_DOWN, u64::from(is_down(row)))
            }));
        }
    }
    emissions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use logferry_health_checks::testing::row;

    fn lines(detail: Detail, rows: &[Measured]) -> Vec<String> {
        let line = |emission: &Emission| {
            let line = emission.line(7);
            line.split_once(r#""}]}]},"#).map(|(_, values)| values.to_owned()).unwrap_or(line)
        };
        emissions("Test", detail, rows).iter().map(line).collect()
    }

    fn in_order(rows: impl IntoIterator<Item = CheckRow>) -> Vec<Measured> {
        rows.into_iter().enumerate().map(|(position, row)| Measured { row, position }).collect()
    }

    fn rows() -> Vec<Measured> {
        let row = |app: &str, target: &str, ok| row(&app.parse().unwrap(), target, 5, ok);
        in_order([
            row("b", "https://b.example/", false),
            row("a", "https://a.example/x?token=secret", true),
            CheckRow { skipped: true, ..row("a", "https://a.example/y", false) },
        ])
    }

    #[test]
    fn per_url_there_are_metrics_of_apps_and_urls_without_their_queries() {
        let expect = [
            r#""App":"a","ChecksUp":1.0,"ChecksDown":0.0,"ChecksSkipped":1.0,"ProbeLatency":[12]}"#,
            r#""App":"a","Url":"https://a.example/x","ProbeLatency":12.0,"ChecksDown":0.0}"#,
            r#""App":"b","ChecksUp":0.0,"ChecksDown":1.0,"ChecksSkipped":0.0,"ProbeLatency":[12]}"#,
            r#""App":"b","Url":"https://b.example/","ProbeLatency":12.0,"ChecksDown":1.0}"#,
        ];
        assert_eq!(lines(Detail::Url, &rows()), expect);
    }

    #[test]
    fn per_app_there_are_none_of_urls_and_off_is_none_at_all() {
        let lines_of_apps = lines(Detail::App, &rows());
        assert_eq!(lines_of_apps.len(), 2);
        assert!(lines_of_apps.iter().all(|line| !line.contains("Url")));
        assert_eq!(lines(Detail::Off, &rows()), [""; 0]);
        assert_eq!(lines(Detail::Url, &[]), [""; 0]);
    }

    #[test]
    fn no_emission_has_more_values_than_the_format_takes() {
        let app = "a".parse().unwrap();
        let rows = in_order((0..250).map(|n| row(&app, &format!("https://{n}.example/"), 5, true)));
        let values: Vec<usize> =
            emissions("Test", Detail::App, &rows).iter().map(|e| e.line(7).matches("12").count()).collect();
        assert_eq!(values, [100, 100, 50]);
    }

    #[test]
    fn of_an_app_only_the_first_urls_have_metrics_of_their_own() {
        let app = "a".parse().unwrap();
        let rows = in_order((0..200).map(|n| row(&app, &format!("https://{n}.example/"), 5, true)));
        let mut shuffled = rows.clone();
        shuffled.reverse();
        for rows in [rows, shuffled] {
            let of_urls: Vec<String> =
                lines(Detail::Url, &rows).into_iter().filter(|line| line.contains("\"Url\"")).collect();
            assert_eq!(of_urls.len(), 20);
            let first = |n: usize| of_urls.iter().any(|line| line.contains(&format!("//{n}.example/")));
            assert!((0..20).all(first));
        }
    }

    #[test]
    fn a_detail_is_one_of_three_words() {
        assert_eq!(Detail::default(), Detail::App);
        assert_eq!("app".parse(), Ok(Detail::App));
        assert_eq!("App".parse::<Detail>(), Err("must be url, app or off"));
    }
}

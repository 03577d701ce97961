//! How many requests a second CloudWatch Logs takes of an account: token buckets on the runtime's clock,
//! each as deep as a second.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>

use tokio::time::Instant;

use crate::send::{ErrorClass, SendError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    PutLogEvents,
    CreateLogStream,
    CreateLogGroup,
    PutRetentionPolicy,
}

impl Operation {
    fn per_second(self) -> f64 {
        match self {
            Self::PutLogEvents => 5_000.0,
            Self::CreateLogStream => 50.0,
            Self::CreateLogGroup => 10.0,
            Self::PutRetentionPolicy => 5.0,
        }
    }
}

/// What was left of each bucket when it was last used.
#[derive(Debug, Default)]
pub(super) struct Rates {
    left: Vec<(Operation, f64, Instant)>,
    pub(super) throttled: usize,
}

impl Rates {
    /// A request; the error where it is one too many.
    pub(super) fn take(&mut self, operation: Operation) -> Result<(), SendError> {
        let (now, most) = (Instant::now(), operation.per_second());
        let at = self.left.iter().position(|(known, ..)| *known == operation).unwrap_or_else(|| {
            self.left.push((operation, most, now));
            self.left.len() - 1
        });
        let (_, left, since) = &mut self.left[at];
        *left = (*left + most * now.duration_since(*since).as_secs_f64()).min(most);
        *since = now;
        if *left < 1.0 {
            self.throttled += 1;
            return Err(SendError::new(ErrorClass::Throttling, "Rate exceeded"));
        }
        *left -= 1.0;
        Ok(())
    }
}

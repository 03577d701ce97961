//! Request rates of CloudWatch Logs per account: token buckets on the runtime's clock, each with the
//! capacity of one second.
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

/// The remaining tokens of each bucket at its last use.
#[derive(Debug, Default)]
pub(super) struct Rates {
    left: Vec<(Operation, f64, Instant)>,
    pub(super) throttled: usize,
}

impl Rates {
    /// Takes a token for a request; an error if the bucket is empty.
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

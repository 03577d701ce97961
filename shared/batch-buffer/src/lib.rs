//! Batches of log events within every limit of CloudWatch Logs PutLogEvents

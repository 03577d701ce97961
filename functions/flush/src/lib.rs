//! Blocks from the table's stream into CloudWatch Logs batches

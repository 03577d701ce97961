//! One S3 object into blocks, exactly once

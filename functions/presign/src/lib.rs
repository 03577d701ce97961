//! Presigned URLs for log files and multipart upload sessions

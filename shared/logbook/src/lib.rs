//! Writing, querying and counting an app's records, for the two doors api and rpc

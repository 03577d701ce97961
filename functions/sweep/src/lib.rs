//! What was forgotten: overdue, stuck and missed files; expired sessions; unfinished prunes

"""The article's job as the users of other trainers would write it; nothing of softreg is imported here."""

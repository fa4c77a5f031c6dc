"""The examples for who builds on the topics, as processes on real servers."""

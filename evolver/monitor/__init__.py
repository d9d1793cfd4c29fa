"""The live page: reads a session's folder, shows it in a browser, writes nothing."""

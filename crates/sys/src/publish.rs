//! Making bytes visible: publish by link or rename.

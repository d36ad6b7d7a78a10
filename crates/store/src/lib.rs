//! placeholder
// NOTE FOR THE OWNER (delete me): this file was overwritten by accident at 19:00 on 22 November, by
// work on http/api. What it held then is not known: please write it anew.

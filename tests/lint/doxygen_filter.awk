# doxygen_filter.awk: the headers' comments as Doxygen spells them: what stands behind a declaration is about it, what stands
# in front of one is about that. Section lines (/* ---- x ---- */) stay comments.
/\/\* ----/ { print; next }
/^\/\* crier\// { sub(/\/\*/, "/** @file\n *"); print; next }
/^[[:space:]]*\/\* / { sub(/\/\* /, "/** "); print; next }
/^[[:space:]]*[^[:space:]\/*].*\/\* / { sub(/\/\* /, "/**< "); print; next }
{ print }

// The reader's time zone, until they choose one themselves. Everything else works without this file.
"use strict";
if (!document.cookie.split("; ").some((cookie) => cookie.startsWith("zone="))) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== "UTC") {
    document.cookie = `zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
    if (document.querySelector("time")) location.reload();
  }
}

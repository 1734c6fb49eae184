-- The requests that wrk sends: `wrk ... URL -- SESSION [browser]`; and what it found, as one line of JSON for the driver.

local browser = {
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  ["Accept-Language"] = "en-US,en;q=0.9",
  ["Accept-Encoding"] = "gzip, deflate, br",
  ["Cache-Control"] = "max-age=0",
  ["Cookie"] = "sid=abcdefabcdefabcdef; theme=dark; _ga=GA1.2.3.4",
  ["Referer"] = "https://app.example.com/x",
  ["Sec-Fetch-Dest"] = "document",
  ["Sec-Fetch-Mode"] = "navigate",
  ["Sec-Fetch-Site"] = "same-origin",
  ["Upgrade-Insecure-Requests"] = "1",
}
local variants = 512

function init(args)
  wrk.headers["X-Session-ID"] = args[1]
  if args[2] ~= "browser" then return end
  for name, value in pairs(browser) do wrk.headers[name] = value end
  -- As in life, no two requests in a row are equal: the twelfth field differs.
  local requests, sent = {}, 0
  for i = 1, variants do
    wrk.headers["X-Request-ID"] = string.format("%016x", i * 1566083941)
    requests[i] = wrk.format()
  end
  function request()
    sent = sent % variants + 1
    return requests[sent]
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'BENCH {"seconds": %.6f, "requests": %d, "bytes": %d, "errors": %d, "p50": %.6f, "p99": %.6f, "worst": %.6f}\n',
    summary.duration / 1e6, summary.requests, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end

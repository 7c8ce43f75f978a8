-- A fixed body for wrk, from the file in BENCH_BODY; what came of it goes to standard output as one line of JSON.
-- With BENCH_EXPECT ("text|text"), answers that hold none of the texts are counted, and those of each one.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()

local threads, texts = {}, {}
strange, first, second = 0, 0, 0
function setup(thread) threads[#threads + 1] = thread end

if os.getenv("BENCH_EXPECT") then
  for text in os.getenv("BENCH_EXPECT"):gmatch("[^|]+") do texts[#texts + 1] = text end
  function response(status, headers, body)
    if status ~= 200 then return end  -- counted by wrk
    if body:find(texts[1], 1, true) then first = first + 1
    elseif texts[2] and body:find(texts[2], 1, true) then second = second + 1
    else strange = strange + 1 end
  end
end

function done(summary, latency)
  local odd, one, two = 0, 0, 0
  for _, thread in ipairs(threads) do
    odd, one, two = odd + thread:get("strange"), one + thread:get("first"), two + thread:get("second")
  end
  local failed = summary.errors
  local lost = failed.connect + failed.read + failed.write + failed.timeout
  io.write(string.format(
    '{"requests":%d,"wall_s":%f,"p50_ms":%f,"p99_ms":%f,"max_ms":%f,"refused":%d,"lost":%d,"strange":%d,"first":%d,"second":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, failed.status, lost, odd, one, two))
end

-- Driven by requests.sh. Environment: METHOD, REQUEST (path) and BODY with {id}, {owner} and {stranger} to fill in,
-- KEY, TOKEN, IDS (a file with one id a line). Prints one line: requests a second, p50 and p90 in ms, failures, the first one.
local ids, threads = {}, {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("seed", #threads * 7919)
end

function init()
  math.randomseed(seed)
  failed, first = 0, ""
  wrk.headers["apikey"] = os.getenv("KEY")
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
  wrk.headers["Content-Type"] = "application/json"
  for id in io.lines(os.getenv("IDS")) do ids[#ids + 1] = id end
end

local function filled(text)
  if not text then return nil end
  text = text:gsub("{id}", function() return ids[math.random(#ids)] end)
  text = text:gsub("{owner}", function() return math.random(1000) end)
  return (text:gsub("{stranger}", function() return 100000 + math.random(1000) end))
end

local method, path, body = os.getenv("METHOD"), os.getenv("REQUEST"), os.getenv("BODY")
function request() return wrk.format(method, filled(path), nil, filled(body)) end

function response(status, _, text)
  if status < 200 or status > 299 then
    failed = failed + 1
    if first == "" then first = status .. " " .. text:sub(1, 160) end
  end
end

function done(summary, latency)
  local bad, why = 0, ""
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("failed")
    if why == "" then why = thread:get("first") end
  end
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %.0f %.2f %.2f %d %s\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, bad + lost, why))
end

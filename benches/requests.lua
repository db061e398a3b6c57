-- Driven by requests.sh. Environment: METHOD, REQUEST (path) and BODY with {id}, {owner} and {stranger} to fill in,
-- or {category}, or @ and the name of a file; KEY, TOKEN, IDS (a file with one id a line). Prints one line: requests a second, p50 and p90 in ms, failures.
--
-- It shares the processors with what it measures, so it does as little as it can: requests are written out before
-- the clock runs, and answers are only counted, not looked at.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("seed", #threads * 7919)
end

local PREPARED = 20000
local ready, next_one = {}, 0

function init()
  math.randomseed(seed)
  wrk.headers["apikey"] = os.getenv("KEY")
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
  wrk.headers["Content-Type"] = "application/json"
  local ids = {}
  for id in io.lines(os.getenv("IDS")) do ids[#ids + 1] = id end
  local function filled(text)
    if not text then return nil end
    text = text:gsub("{id}", function() return ids[math.random(#ids)] end)
    text = text:gsub("{category}", function() return math.random(100) end)
    text = text:gsub("{owner}", function() return math.random(1000) end)
    return (text:gsub("{stranger}", function() return 100000 + math.random(1000) end))
  end
  local method, path, body = os.getenv("METHOD"), os.getenv("REQUEST"), os.getenv("BODY")
  if body and body:sub(1, 1) == "@" then
    body = io.open(body:sub(2)):read("*a")
    ready[1] = wrk.format(method, path, nil, body)
    return
  end
  for at = 1, PREPARED do ready[at] = wrk.format(method, filled(path), nil, filled(body)) end
end

function request()
  next_one = next_one % #ready + 1
  return ready[next_one]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, failed))
end

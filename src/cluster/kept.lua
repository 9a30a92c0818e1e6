-- Says where a channel stands, and what is kept of it behind an offset. A channel that nobody has published to gets a numbering, so
-- that its beginning is the same place on every node.
-- KEYS: the numbering, what is kept. Both are in one slot.
-- ARGV: run id of this server, whether it loses nothing ('1'), a fresh epoch, for how many ms the numbering is kept at least, the
--       offset, how many publications at most (0: none are asked for), and how many bytes of them, of which the first may have more.
-- Returns the epoch, the offset, and what is kept as XRANGE gives it.
local numbering, stream = KEYS[1], KEYS[2]
local run, durable, fresh, numbering_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local known = redis.call('HMGET', numbering, 'epoch', 'offset', 'run')
local epoch, offset = known[1], known[2]
if not epoch or (known[3] ~= run and durable ~= '1') then
  epoch, offset = fresh, '0'
  redis.call('DEL', stream)
  redis.call('HSET', numbering, 'epoch', epoch, 'offset', offset, 'run', run)
elseif known[3] ~= run then
  redis.call('HSET', numbering, 'run', run)
end
if redis.call('PTTL', numbering) < numbering_ms then
  redis.call('PEXPIRE', numbering, numbering_ms)
end
local kept = {}
if ARGV[6] ~= '0' then
  local found = redis.call('XRANGE', stream, string.format('%.0f-0', tonumber(ARGV[5]) + 1), '+', 'COUNT', ARGV[6])
  local room = tonumber(ARGV[7])
  for at, entry in ipairs(found) do
    room = room - #entry[2][2]
    if at > 1 and room < 0 then
      break
    end
    kept[at] = entry
  end
end
return {epoch, offset, kept}

-- Numbers a publication, keeps it and tells every node, or does nothing at all: what can fail comes before what is told.
-- KEYS: the numbering, what is kept, and where there is an id, that id. All are in one slot.
-- ARGV: run id of this server, whether it loses nothing ('1'), a fresh epoch, data, wall time in ms, conflation key, how many are kept,
--       for how many ms, for how many ms the numbering, for how many the id, the word to publish with, the pub/sub channel.
-- Returns the epoch, the offset, and 1 when the id was known already.
local numbering, stream, id = KEYS[1], KEYS[2], KEYS[3]
local run, durable, fresh, data, wall, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local keep, keep_ms, numbering_ms, id_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]

local known = redis.call('HMGET', numbering, 'epoch', 'offset', 'run')
local epoch, offset = known[1], tonumber(known[2])
-- A server that was started anew, or took another's place, may have lost the last publications, and must never number two alike.
local begins = not epoch or (known[3] ~= run and durable ~= '1')
if id and not begins then
  local cursor = redis.call('GET', id)
  if cursor then
    local dash = string.find(cursor, '-', 1, true)
    return {string.sub(cursor, 1, dash - 1), string.sub(cursor, dash + 1), 1}
  end
end
-- A server that is full refuses what needs memory only until a script has written: what is not there must not be deleted before that.
local function forget()
  if redis.call('PTTL', stream) ~= -2 then
    redis.call('DEL', stream)
  end
end
if begins then
  epoch, offset = fresh, 0
  forget()
end
offset = offset + 1
local text = string.format('%.0f', offset)
if keep > 0 then
  redis.call('XADD', stream, 'MAXLEN', '~', keep, text .. '-0', 'd', data, 't', wall, 'k', key)
  redis.call('PEXPIRE', stream, keep_ms)
else
  forget()
end
redis.call('HSET', numbering, 'epoch', epoch, 'offset', text, 'run', run)
if redis.call('PTTL', numbering) < numbering_ms then
  redis.call('PEXPIRE', numbering, numbering_ms)
end
if id then
  redis.call('SET', id, epoch .. '-' .. text, 'PX', id_ms)
end
redis.call(ARGV[11], ARGV[12], epoch .. ' ' .. text .. ' ' .. wall .. ' ' .. #key .. '\n' .. key .. data)
return {epoch, text, 0}

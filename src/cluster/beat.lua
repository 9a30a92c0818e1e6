-- Says that a node lives, and which others do. By the clock of this server, so that those of the nodes may differ.
-- KEYS: a sorted set of nodes by the moment at which each was heard of last, in ms.
-- ARGV: this node, and for how many ms a node lives on that is not heard of.
-- Returns those that live, this one among them.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
return redis.call('ZRANGE', KEYS[1], 0, -1)

-- The translator of a cluster whose clients speak Messages and whose provider speaks Chat.

local errors = require("translate/errors")
local request = require("translate/to_chat/request")

return { direction = "messages_to_chat", dialect = "openai", write = request.write, error = errors.body }

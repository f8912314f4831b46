-- The translator of a cluster whose clients speak Responses and whose provider speaks Chat. Both have errors alike.

local request = require("translate/from_responses/request")

return { direction = "responses_to_chat", dialect = "openai", write = request.write }

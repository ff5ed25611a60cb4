-- Logs in.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"email":"log-in@example.com","password":"correct horse"}'

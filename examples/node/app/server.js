const http = require('http');
const Redis = require('ioredis');

const store = new Redis({ host: 'store' });

http.createServer(async (request, response) => {
    const visits = await store.incr('visits');
    response.end(`visits: ${visits}\n`);
}).listen(3000);

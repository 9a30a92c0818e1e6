const ws = new WebSocket('ws://host:8080/live');
ws.onopen = () => ws.send(JSON.stringify({ type: 'subscribe', channel: 'notifications' }));
ws.onmessage = e => console.log(JSON.parse(e.data));   // {"type":"notification","channel":…,"data":…,"timestamp":…}

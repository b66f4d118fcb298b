// All messages of a conversation as a user's SDK pages through them, oldest first.

export async function history(user, conversationID) {
  const all = [];
  let next;
  for (;;) {
    const { data } = await user.sdk.getMessageList({ conversationID, nextReqMessageID: next });
    all.unshift(...data.messageList);
    if (data.isCompleted) return all;
    next = data.nextReqMessageID;
  }
}
